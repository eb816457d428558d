import assert from 'node:assert/strict';
import type { UploadId } from '../../blobs/blob-store.ts';
import type { MetaStore, Upload } from '../meta-store.ts';
import { type ContractFixture, digestFor, uploadOf } from './fixture.ts';

const ID = 'one' as UploadId;
/** In milliseconds: longer than any test. */
const LONG = 3_600_000;
const PROGRESS = { offsetBytes: 7, digestSoFar: digestFor('seven'), hashedInRun: 'run', expiresAt: 300 };

async function insert(store: MetaStore, upload: Upload = uploadOf('one')): Promise<void> {
  await store.transaction((tx) => tx.uploads.insert(upload));
}

export function uploadContract(fixture: ContractFixture): void {
  leasesOfUploads(fixture);
  listsOfUploads(fixture);
}

function leasesOfUploads({ check }: ContractFixture): void {
  check('uploads.acquire, held by another, is busy and tells the holder', async (store) => {
    await insert(store);
    const acquire = (token: string) => store.transaction((tx) => tx.uploads.acquire(ID, token, LONG));
    const renew = (token: string, leaseMillis: number) =>
      store.transaction((tx) => tx.uploads.renew(ID, token, { leaseMillis, expiresAt: 200 }));
    assert.deepEqual(await acquire('a'), uploadOf('one'));
    assert.equal(await renew('a', LONG), 'held');
    assert.equal(await acquire('b'), 'busy');
    assert.equal(await acquire('b'), 'busy');
    // From here on it is past.
    assert.equal(await renew('a', 0), 'wanted');
    assert.deepEqual(await acquire('b'), uploadOf('one', { expiresAt: 200 }));
    assert.equal(await renew('a', LONG), 'lost');
    assert.equal(await renew('b', LONG), 'held');
  });

  check('uploads.acquire, no such upload, is null', async (store) => {
    assert.equal(await store.transaction((tx) => tx.uploads.acquire(ID, 'a', LONG)), null);
  });

  check('uploads.release, writes progress and frees, once only', async (store) => {
    await insert(store);
    await store.transaction((tx) => tx.uploads.acquire(ID, 'a', LONG));
    const release = (token: string) => store.transaction((tx) => tx.uploads.release(ID, token, PROGRESS));
    assert.equal(await release('b'), false);
    assert.equal((await store.read.uploads.find(ID))?.offsetBytes, 0);
    assert.equal(await release('a'), true);
    assert.equal(await release('a'), false);
    assert.deepEqual(await store.read.uploads.find(ID), uploadOf('one', PROGRESS));
    assert.notEqual(await store.transaction((tx) => tx.uploads.acquire(ID, 'b', LONG)), 'busy');
  });

  check('uploads.close, once, stays; as another digest or with a lost lease it is refused', async (store) => {
    await insert(store);
    await store.transaction((tx) => tx.uploads.acquire(ID, 'a', LONG));
    const close = (token: string, text: string) =>
      store.transaction((tx) =>
        tx.uploads.close(ID, token, { digest: digestFor(text), sizeBytes: 9, hashedInRun: 'run' }),
      );
    assert.equal(await close('b', 'nine'), false);
    assert.equal(await close('a', 'nine'), true);
    assert.equal(await close('a', 'nine'), true);
    assert.equal(await close('a', 'ten'), false);
    const found = await store.read.uploads.find(ID);
    assert.deepEqual(
      [found?.closingAs, found?.digestSoFar, found?.offsetBytes, found?.hashedInRun],
      [digestFor('nine'), digestFor('nine'), 9, 'run'],
    );
    await store.transaction((tx) => tx.uploads.release(ID, 'a', PROGRESS));
    assert.equal((await store.read.uploads.find(ID))?.closingAs, digestFor('nine'));
  });

  check('uploads.delete, with another token, keeps it; with its own or none, drops it', async (store) => {
    await insert(store);
    await store.transaction((tx) => tx.uploads.acquire(ID, 'a', LONG));
    const drop = (token: string | null) => store.transaction((tx) => tx.uploads.delete(ID, token));
    assert.equal(await drop('b'), false);
    assert.equal(await drop('a'), true);
    assert.equal(await drop('a'), false);
    await insert(store);
    assert.equal(await drop(null), true);
    assert.equal(await store.read.uploads.find(ID), null);
  });
}

function listsOfUploads({ check }: ContractFixture): void {
  check(
    'uploads.end, as delete, and is known until it is forgotten; ended tells the oldest first',
    async (store) => {
      const ids = ['one', 'two', 'three'] as UploadId[];
      for (const id of ids) await insert(store, uploadOf(id));
      await store.transaction((tx) => tx.uploads.acquire(ID, 'a', LONG));
      const end = (id: string, token: string | null, at: number) =>
        store.transaction((tx) => tx.uploads.end(id as UploadId, token, at));
      assert.equal(await end('one', 'b', 20), false);
      assert.equal(await end('one', 'a', 20), true);
      assert.equal(await end('one', 'a', 25), false);
      assert.equal(await end('two', null, 10), true);
      assert.equal(await store.read.uploads.find(ID), null);
      assert.equal(await store.transaction((tx) => tx.uploads.acquire(ID, 'c', LONG)), null);
      assert.equal(await store.read.uploads.count(), 1);
      assert.deepEqual(await store.read.uploads.known(ids), new Set(ids));
      assert.deepEqual(await store.read.uploads.ended(21, 9), ['two', 'one']);
      assert.deepEqual(await store.read.uploads.ended(21, 1), ['two']);
      assert.deepEqual(await store.read.uploads.ended(20, 9), ['two']);
      await store.transaction(async (tx) => {
        await tx.uploads.noteEnded('two' as UploadId, 99);
        await tx.uploads.noteEnded('four' as UploadId, 15);
        await tx.uploads.forgetEnded([ID]);
      });
      assert.deepEqual(await store.read.uploads.ended(100, 9), ['four', 'two']);
      assert.deepEqual(await store.read.uploads.known(ids), new Set(['two', 'three']));
    },
  );

  check('uploads.expired, oldest first, without those that somebody holds', async (store) => {
    for (const [id, expiresAt] of [
      ['c', 30],
      ['a', 20],
      ['b', 10],
      ['held', 5],
      ['later', 99],
    ] as const) {
      await insert(store, uploadOf(id, { expiresAt }));
    }
    await store.transaction((tx) => tx.uploads.acquire('held' as UploadId, 'x', LONG));
    const expired = async (at: number, limit: number) =>
      (await store.read.uploads.expired(at, limit)).map((upload) => upload.id);
    assert.deepEqual(await expired(30, 10), ['b', 'a', 'c']);
    assert.deepEqual(await expired(30, 1), ['b']);
    assert.deepEqual(await expired(Date.now() + 2 * LONG, 1), ['held']);
  });

  check('uploads.known and count, of many ids, find the rows', async (store) => {
    await insert(store);
    const ids = Array.from({ length: 600 }, (_, index) => `id-${index}` as UploadId);
    assert.deepEqual(await store.read.uploads.known([...ids, ID]), new Set([ID]));
    assert.deepEqual(await store.read.uploads.known([]), new Set());
    assert.equal(await store.read.uploads.count(), 1);
    const [only] = await store.read.uploads.expired(Number.MAX_SAFE_INTEGER, 1);
    assert.equal(await store.read.uploads.countOf(only?.principal ?? ''), 1);
    assert.equal(await store.read.uploads.countOf('somebody else'), 0);
  });
}
