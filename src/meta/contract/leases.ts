import assert from 'node:assert/strict';
import type { MetaStore } from '../meta-store.ts';
import type { ContractFixture } from './fixture.ts';

/** In milliseconds: longer than any test. */
const LONG = 3_600_000;
const CONCURRENT = { concurrent: true };

function take(store: MetaStore, holder: string, leaseMillis = LONG): Promise<number | null> {
  return store.transaction((tx) => tx.leases.take('sweep', holder, leaseMillis), CONCURRENT);
}

function free(store: MetaStore, holder: string, restMillis = 0): Promise<void> {
  return store.transaction((tx) => tx.leases.free('sweep', holder, restMillis), CONCURRENT);
}

function isCurrent(store: MetaStore, fence: number): Promise<boolean> {
  return store.transaction((tx) => tx.leases.isCurrent('sweep', fence), CONCURRENT);
}

export function leaseContract({ check }: ContractFixture): void {
  check('leases.take, one holder at a time, the fence grows with each', async (store) => {
    assert.equal(await take(store, 'a'), 1);
    assert.equal(await take(store, 'b'), null);
    // A renewal keeps the fence; from here on the lease is past.
    assert.equal(await take(store, 'a', 0), 1);
    assert.equal(await take(store, 'b'), 2);
    await free(store, 'a');
    assert.equal(await take(store, 'a'), null);
    await free(store, 'b');
    assert.equal(await take(store, 'a'), 3);
  });

  check('leases.take, of one that rests, is refused to everybody until the rest is over', async (store) => {
    await take(store, 'a');
    await free(store, 'a', LONG);
    assert.equal(await take(store, 'a'), null);
    assert.equal(await take(store, 'b'), null);
  });

  check('leases.isCurrent holds until another holder took it, also when it is past', async (store) => {
    assert.equal(await isCurrent(store, 1), false);
    assert.equal(await take(store, 'a', 0), 1);
    assert.equal(await isCurrent(store, 1), true);
    assert.equal(await take(store, 'b'), 2);
    assert.equal(await isCurrent(store, 1), false);
    assert.equal(await isCurrent(store, 2), true);
  });

  check('leases.isCurrent, in a transaction, keeps others from taking it until that ends', async (store) => {
    await take(store, 'a', 0);
    const asked = Promise.withResolvers<void>();
    const goesOn = Promise.withResolvers<void>();
    const order: string[] = [];
    const writing = store.transaction(async (tx) => {
      assert.equal(await tx.leases.isCurrent('sweep', 1), true);
      asked.resolve();
      await goesOn.promise;
      await tx.access.putSetting('written by', 'a');
      order.push('a has written');
    }, CONCURRENT);
    await asked.promise;
    const taking = take(store, 'b').then((fence) => order.push(`b holds with ${fence}`));
    // Long enough for one that does not wait to have taken it.
    await Promise.race([taking, new Promise((resolve) => setTimeout(resolve, 50))]);
    goesOn.resolve();
    await Promise.all([writing, taking]);
    assert.deepEqual(order, ['a has written', 'b holds with 2']);
  });
}
