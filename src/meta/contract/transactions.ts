import assert from 'node:assert/strict';
import { type ContractFixture, DEMO, ensure, manifestOf, named, put, setTag, tagged } from './fixture.ts';

export function transactionContract(fixture: ContractFixture): void {
  singleTransactions(fixture);
  manyTransactions(fixture);
  repositories(fixture);
}

function singleTransactions({ check }: ContractFixture): void {
  check('transaction, work throws, leaves nothing and runs no effect', async (store) => {
    let ran = false;
    const work = store.transaction(async (tx) => {
      await tx.repositories.ensure(DEMO, 'ann', 1);
      tx.afterCommit(() => {
        ran = true;
      });
      throw new Error('no');
    });
    await assert.rejects(work, /^Error: no$/);
    assert.equal(await store.read.repositories.find(DEMO), null);
    assert.equal(ran, false);
  });

  check('transaction, committed, is seen by reads and by its effects, in order', async (store) => {
    const effects: string[] = [];
    const made = await store.transaction(async (tx) => {
      tx.afterCommit(() => effects.push('first'));
      tx.afterCommit(() => effects.push('second'));
      assert.deepEqual(effects, []);
      return await tx.repositories.ensure(DEMO, 'ann', 7);
    });
    assert.deepEqual(effects, ['first', 'second']);
    assert.deepEqual(await store.read.repositories.find(DEMO), made);
    assert.equal(made.createdAt, 7);
  });

  check(
    'transaction, reads its own writes; reads outside do not see them before the commit',
    async (store) => {
      await store.transaction(async (tx) => {
        const made = await tx.repositories.ensure(DEMO, 'ann', 1);
        assert.deepEqual(await tx.repositories.find(DEMO), made);
        assert.equal(await store.read.repositories.find(DEMO), null);
      });
    },
  );
}

function manyTransactions({ check }: ContractFixture): void {
  check('transaction, many at once that read and write one row, lose no update', async (store) => {
    const rounds = Array.from({ length: 50 }, () =>
      store.transaction(async (tx) => {
        const value = Number((await tx.access.setting('counter')) ?? '0');
        await tx.access.putSetting('counter', String(value + 1));
      }),
    );
    await Promise.all(rounds);
    assert.equal(await store.read.access.setting('counter'), '50');
  });

  check('transaction, one fails among many, takes no other with it', async (store) => {
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, index) =>
        store.transaction(async (tx) => {
          await tx.access.putSetting(`key-${index}`, 'set');
          if (index === 4) throw new Error('mine alone');
        }),
      ),
    );
    assert.equal(results.filter((result) => result.status === 'rejected').length, 1);
    assert.equal(await store.read.access.setting('key-4'), null);
    assert.equal(await store.read.access.setting('key-5'), 'set');
  });

  check('transaction, not durable, is committed all the same', async (store) => {
    await store.transaction((tx) => tx.access.putSetting('a', 'b'), { durable: false });
    assert.equal(await store.read.access.setting('a'), 'b');
  });
}

function repositories({ check }: ContractFixture): void {
  check('repositories.ensure, twice, gives the same one', async (store) => {
    assert.deepEqual(await ensure(store), await ensure(store));
  });

  check('repositories.list, pages by name, only those with a live manifest', async (store) => {
    const manifest = manifestOf('m');
    for (const name of ['b/x', 'a', 'b-c', 'b', 'empty', 'dead']) {
      const repository = await ensure(store, named(name));
      if (name !== 'empty') await put(store, repository, manifest);
      if (name === 'dead') {
        await store.transaction((tx) => tx.manifests.delete(repository.id, manifest.digest, 'ann', 3));
      }
    }
    const all = await store.read.repositories.list({ after: null, limit: 10 });
    assert.deepEqual(all, ['a', 'b', 'b-c', 'b/x']);
    assert.deepEqual(await store.read.repositories.list({ after: 'b', limit: 1 }), ['b-c']);
  });

  check('probe, integrity, on a sound store, find nothing', async (store) => {
    await store.probe(AbortSignal.timeout(10_000));
    assert.deepEqual(await store.integrity(), []);
  });

  check('hot reads, inside a transaction, see its writes', async (store) => {
    const manifest = manifestOf('m');
    await store.transaction(async (tx) => {
      const repository = await tx.repositories.ensure(DEMO, 'ann', 1);
      await tx.manifests.put(repository.id, manifest, 'ann', 1);
      await setTag(tx, repository.id, { tag: 'latest', digest: manifest.digest, by: 'ann', at: 1 });
      assert.equal((await tx.manifests.getByTag(DEMO, tagged('latest')))?.digest, manifest.digest);
    });
  });
}
