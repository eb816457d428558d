import assert from 'node:assert/strict';
import type { MetaStore, NodeReport, Notice } from '../meta-store.ts';
import type { ContractFixture } from './fixture.ts';

const LONG = 3_600_000;
const CONCURRENT = { concurrent: true };

const NODE: NodeReport = {
  id: 'run-1',
  name: 'one',
  version: '1.2.3',
  schemaVersion: 5,
  addresses: ['http://10.0.0.1:5000', 'http://10.0.0.1:5001'],
  startedAt: 7,
  skewMillis: -12,
};

function report(store: MetaStore, node: NodeReport, seenForMillis = LONG, draining = false) {
  return store.transaction((tx) => tx.nodes.report(node, seenForMillis, draining), CONCURRENT);
}

async function states(store: MetaStore): Promise<readonly string[]> {
  return (await store.read.nodes.list()).map(({ id, state }) => `${id} ${state}`);
}

export function nodeContract({ check }: ContractFixture): void {
  check('nodes.report, again and again, keeps one row that says the last', async (store) => {
    assert.deepEqual(await report(store, NODE), { draining: false });
    const first = (await store.read.nodes.list())[0]?.seenAt ?? 0;
    assert.deepEqual(await report(store, { ...NODE, startedAt: 9, skewMillis: 3 }), { draining: false });
    const [node, ...others] = await store.read.nodes.list();
    assert.deepEqual(others, []);
    assert.ok((node?.seenAt ?? 0) >= first);
    assert.deepEqual(node, { ...NODE, skewMillis: 3, seenAt: node?.seenAt, state: 'serving' });
  });

  check('nodes.list, by name, tells who did not report in time', async (store) => {
    await report(store, { ...NODE, id: 'b', name: 'two' });
    await report(store, { ...NODE, id: 'c', name: 'one', startedAt: 9 }, -1);
    await report(store, { ...NODE, id: 'a', name: 'one' });
    assert.deepEqual(await states(store), ['a serving', 'c gone', 'b serving']);
    await store.transaction((tx) => tx.nodes.expire(-LONG));
    assert.deepEqual(await states(store), []);
  });

  check('nodes.setDraining holds through later reports, and is told to the node', async (store) => {
    const drain = (id: string, draining: boolean) =>
      store.transaction((tx) => tx.nodes.setDraining(id, draining));
    assert.equal(await drain('run-1', true), false);
    await report(store, NODE);
    assert.equal(await store.read.nodes.isDraining('run-1'), false);
    assert.equal(await drain('run-1', true), true);
    assert.equal(await store.read.nodes.isDraining('run-1'), true);
    assert.deepEqual(await report(store, NODE), { draining: true });
    assert.deepEqual(await states(store), ['run-1 draining']);
    assert.equal(await drain('run-1', false), true);
    assert.deepEqual(await report(store, NODE), { draining: false });
  });

  check('nodes.report, of one whose row is gone, makes it as the node knew itself', async (store) => {
    await report(store, NODE, LONG, true);
    assert.equal(await store.transaction((tx) => tx.nodes.isDraining('run-1')), true);
    await store.transaction((tx) => tx.nodes.remove('run-1'));
    assert.deepEqual(await states(store), []);
    assert.deepEqual(await report(store, NODE, LONG, true), { draining: true });
  });

  check('now, where the ledger has a clock, does not run backwards', async (store) => {
    if (store.now === null) return;
    const first = await store.now();
    assert.ok((await store.now()) >= first);
  });

  check('a notice, published in a transaction that rolls back, is told to nobody', async (store) => {
    const heard: Notice[] = [];
    const end = store.notices.subscribe((notice) => void heard.push(notice));
    const published = store.transaction(async (tx) => {
      await tx.publish({ kind: 'lease_freed', name: 'never' });
      throw new Error('changed its mind');
    });
    await assert.rejects(published, /changed its mind/);
    await store.transaction((tx) => tx.publish({ kind: 'lease_freed', name: 'done' }));
    end();
    assert.deepEqual(
      heard.filter((notice) => notice.kind === 'lease_freed' && notice.name === 'never'),
      [],
    );
  });
}
