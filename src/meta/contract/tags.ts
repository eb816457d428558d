import assert from 'node:assert/strict';
import {
  type ContractFixture,
  DEMO,
  digestFor,
  ensure,
  manifestOf,
  OTHER,
  put,
  setTag,
  tagged,
} from './fixture.ts';

export function tagContract(fixture: ContractFixture): void {
  const { check } = fixture;
  check('tags.set, again with the same digest, starts no interval', async (store) => {
    const { id } = await ensure(store);
    const set = () =>
      store.transaction((tx) => setTag(tx, id, { tag: 't', digest: digestFor('a'), by: 'ann', at: 2 }));
    assert.equal(await set(), null);
    assert.equal(await set(), digestFor('a'));
    assert.equal((await store.read.tags.history(id, tagged('t'), 10)).length, 1);
  });

  check('tags.set, another digest, ends one interval and starts the next', async (store) => {
    const { id } = await ensure(store);
    await store.transaction((tx) => setTag(tx, id, { tag: 't', digest: digestFor('a'), by: 'ann', at: 2 }));
    const before = await store.transaction((tx) =>
      setTag(tx, id, { tag: 't', digest: digestFor('b'), by: 'bob', at: 3 }),
    );
    assert.equal(before, digestFor('a'));
    assert.equal(await store.read.tags.find(id, tagged('t')), digestFor('b'));
    const open = { endedAt: null, endedBy: null, endReason: null };
    const name = tagged('t');
    assert.deepEqual(await store.read.tags.history(id, name, 10), [
      { name, digest: digestFor('b'), startedAt: 3, startedBy: 'bob', ...open },
      {
        name,
        digest: digestFor('a'),
        startedAt: 2,
        startedBy: 'ann',
        endedAt: 3,
        endedBy: 'bob',
        endReason: 'moved',
      },
    ]);
    assert.equal((await store.read.tags.history(id, name, 1)).length, 1);
  });

  check('tags.end, ends the open interval once, and a set starts anew', async (store) => {
    const { id } = await ensure(store);
    await store.transaction((tx) => setTag(tx, id, { tag: 't', digest: digestFor('a'), by: 'ann', at: 2 }));
    const end = () => store.transaction((tx) => tx.tags.end(id, tagged('t'), 'bob', 4, 'deleted'));
    assert.equal(await end(), digestFor('a'));
    assert.equal(await end(), null);
    assert.equal(await store.read.tags.find(id, tagged('t')), null);
    await store.transaction((tx) => setTag(tx, id, { tag: 't', digest: digestFor('a'), by: 'ann', at: 5 }));
    const history = await store.read.tags.history(id, tagged('t'), 10);
    assert.deepEqual(
      history.map((interval) => interval.endReason),
      [null, 'deleted'],
    );
  });
  tagLists(fixture);
}

function tagLists({ check }: ContractFixture): void {
  check('tags.list, pages of open tags in byte order, after a name that need not exist', async (store) => {
    const { id } = await ensure(store);
    const other = await ensure(store, OTHER);
    await store.transaction(async (tx) => {
      for (const name of ['b', 'B', 'a', '_x', '1', 'gone']) {
        await setTag(tx, id, { tag: name, digest: digestFor('a'), by: 'ann', at: 2 });
      }
      await setTag(tx, other.id, { tag: 'elsewhere', digest: digestFor('a'), by: 'ann', at: 2 });
      await tx.tags.end(id, tagged('gone'), 'ann', 3, 'deleted');
    });
    const list = (after: string | null, limit: number) =>
      store.read.tags.list({ repository: id, after, limit });
    assert.deepEqual(await list(null, 10), ['1', 'B', '_x', 'a', 'b']);
    assert.deepEqual(await list('A', 2), ['B', '_x']);
    assert.deepEqual(await store.read.tags.onManifest(id, digestFor('a')), ['1', 'B', '_x', 'a', 'b']);
    assert.deepEqual(await store.read.tags.onManifest(id, digestFor('b')), []);
  });

  check('manifests.getByTag, after a move, answers the new manifest', async (store) => {
    const repository = await ensure(store);
    for (const text of ['one', 'two']) {
      await put(store, repository, manifestOf(text));
      await store.transaction((tx) =>
        setTag(tx, repository.id, { tag: 'latest', digest: manifestOf(text).digest, by: 'ann', at: 2 }),
      );
    }
    const found = await store.read.manifests.getByTag(DEMO, tagged('latest'));
    assert.equal(found?.digest, manifestOf('two').digest);
    assert.equal(await store.read.manifests.getByTag(DEMO, tagged('none')), null);
    assert.equal(await store.read.manifests.getByTag(OTHER, tagged('latest')), null);
  });
}
