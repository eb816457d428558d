import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { digestOf } from '../oci/digest.ts';
import type { BlobBody, BlobLocation, BlobStore, UploadId } from './blob-store.ts';
import {
  allPages,
  blobBytes,
  chunksOf,
  drain,
  endingIn,
  put,
  randomNumbers,
  sliced,
  stageBytes,
  stagedBytes,
} from './contract-bytes.ts';
import { losing } from './contract-lost.ts';
import { assertOpenFiles, openFiles } from './open-files.ts';
import { newUploadId } from './upload-id.ts';

export interface OpenedForContract {
  readonly store: BlobStore;
  /** Opens the same store anew, as after a restart. Leave out when nothing survives one. */
  readonly reopen?: () => Promise<BlobStore>;
  /** Names of whatever lies in the store and is neither a blob nor a staged upload. */
  readonly leftovers?: () => Promise<readonly string[]>;
  /** Closes what is open and removes the store. */
  readonly dispose: () => Promise<void>;
}

export interface BlobStoreContractOptions {
  readonly name: string;
  /** A new, empty store. */
  readonly open: () => Promise<OpenedForContract>;
  /** Size of the larger bodies: several of the driver's reads and writes. */
  readonly largeBytes?: number;
}

interface World extends OpenedForContract {
  readonly signal: AbortSignal;
}

const LARGE_BYTES = 3 * 1024 * 1024 + 17;

/**
 * What every blob store must do. Run it in a test file of `node:test`. Each test has a store of its own; a test whose store
 * is left with staged uploads, files of unknown use or open files fails, whatever else it shows.
 */
export function runBlobStoreContract(options: BlobStoreContractOptions): void {
  const large = randomBytes(options.largeBytes ?? LARGE_BYTES);

  function test(name: string, body: (world: World) => Promise<void>): void {
    it(name, async () => {
      const before = await openFiles();
      const opened = await options.open();
      try {
        await body({ ...opened, signal: new AbortController().signal });
        assert.deepEqual((await opened.store.listStaged(null, 100)).entries, [], 'uploads are left staged');
        assert.deepEqual((await opened.leftovers?.()) ?? [], [], 'files of unknown use are left');
        await assertOpenFiles(before);
      } finally {
        await opened.dispose();
      }
    });
  }

  describe(`blob store contract: ${options.name}`, () => {
    staging(test, large);
    broken(test);
    losing(test);
    committing(test, large);
    reading(test, large);
    listing(test, large);
    standing(test);
  });
}

export type Test = (name: string, body: (world: World) => Promise<void>) => void;

function staging(test: Test, large: Buffer): void {
  test('staged and readStaged, an unknown upload, are null', async ({ store, signal }) => {
    assert.equal(await store.staged(newUploadId()), null);
    assert.equal(await store.readStaged(newUploadId(), signal), null);
  });

  test('append, of nothing at 0, begins an upload of no bytes', async ({ store, signal }) => {
    const id = newUploadId();
    assert.equal(await store.append(id, 0, chunksOf([]), signal), 0);
    assert.equal((await store.staged(id))?.sizeBytes, 0);
    assert.equal(await store.append(id, 0, chunksOf(['abc']), signal), 3);
    assert.equal((await store.staged(id))?.sizeBytes, 3);
    assert.equal((await store.staged(id))?.uploadId, id);
    await store.withdraw(id);
  });

  test('append, large pieces and small ones, holds them in order', async ({ store, signal }) => {
    for (const size of [large.byteLength, 65_536, 1021]) {
      const id = newUploadId();
      assert.equal(await store.append(id, 0, chunksOf(sliced(large, size)), signal), large.byteLength);
      assert.ok((await stagedBytes(store, id, signal)).equals(large), `pieces of ${size} bytes`);
      await store.withdraw(id);
    }
  });

  test('append, a source that fills the same chunk again and again, holds what each one was', async (world) => {
    const { store, signal } = world;
    const id = newUploadId();
    const source = async function* () {
      const chunk = Buffer.alloc(64 * 1024);
      for (const piece of sliced(large, chunk.byteLength)) {
        yield chunk.subarray(0, Buffer.from(piece).copy(chunk));
      }
      chunk.fill(0);
    };
    assert.equal(await store.append(id, 0, source(), signal), large.byteLength);
    assert.ok((await stagedBytes(store, id, signal)).equals(large));
    await store.withdraw(id);
  });

  test('append, any series of offsets and pieces, agrees with a model', async ({ store, signal }) => {
    for (let seed = 1; seed <= 40; seed++) {
      const below = randomNumbers(seed);
      const id = newUploadId();
      let model = Buffer.alloc(0);
      for (let step = below(6); step >= 0; step--) {
        const offset = below(model.byteLength + 1);
        const pieces = Array.from({ length: below(6) }, () => Buffer.alloc(below(40), below(256)));
        model = Buffer.concat([model.subarray(0, offset), ...pieces]);
        assert.equal(
          await store.append(id, offset, chunksOf(pieces), signal),
          model.byteLength,
          `seed ${seed}`,
        );
        assert.equal((await store.staged(id))?.sizeBytes, model.byteLength, `seed ${seed}`);
      }
      assert.ok((await stagedBytes(store, id, signal)).equals(model), `seed ${seed}`);
      await store.withdraw(id);
    }
  });

  test('append, an offset beyond the staged bytes, throws RangeError and leaves no gap', async (world) => {
    const { store, signal } = world;
    const id = newUploadId();
    await store.append(id, 0, chunksOf(['abc']), signal);
    await assert.rejects(store.append(id, 4, chunksOf(['x']), signal), RangeError);
    assert.equal((await stagedBytes(store, id, signal)).toString(), 'abc');
    await store.withdraw(id);
    await assert.rejects(store.append(id, 3, chunksOf(['x']), signal), RangeError);
    assert.equal(await store.staged(id), null);
  });

  test('withdraw, twice, forgets the upload', async ({ store, signal }) => {
    const id = newUploadId();
    await store.append(id, 0, chunksOf(['abc']), signal);
    await store.withdraw(id);
    await store.withdraw(id);
    assert.equal(await store.staged(id), null);
  });
}

function broken(test: Test): void {
  test('append, a source that throws, rejects with its error and keeps what came before', async (world) => {
    const { store, signal } = world;
    const id = newUploadId();
    // It may look like a failure of the store's own.
    const failure = Object.assign(new Error('the connection was lost'), { code: 'ECONNRESET' });
    await assert.rejects(
      store.append(
        id,
        0,
        endingIn(['ab', 'c'], () => Promise.reject(failure)),
        signal,
      ),
      failure,
    );
    assert.equal((await stagedBytes(store, id, signal)).toString(), 'abc');
    assert.equal(await store.append(id, 3, chunksOf(['de']), signal), 5);
    assert.equal((await stagedBytes(store, id, signal)).toString(), 'abcde');
    await store.withdraw(id);
  });

  test('append, aborted while the source hangs, rejects with the reason and keeps the bytes', async (world) => {
    const { store, signal } = world;
    const id = newUploadId();
    const abort = new AbortController();
    const reason = new Error('the client is gone');
    const source = endingIn(['abc'], () => {
      setImmediate(() => abort.abort(reason));
      return new Promise<never>(() => undefined);
    });
    await assert.rejects(store.append(id, 0, source, abort.signal), reason);
    assert.equal((await stagedBytes(store, id, signal)).toString(), 'abc');
    await store.withdraw(id);
  });

  test('append, 50 aborted ones, leave no file open', async ({ store }) => {
    const before = await openFiles();
    const id = newUploadId();
    for (let round = 0; round < 50; round++) {
      const abort = new AbortController();
      const source = endingIn(['x'], () => {
        abort.abort(new Error('gone'));
        return new Promise<never>(() => undefined);
      });
      await assert.rejects(store.append(id, 0, source, abort.signal), /gone/);
    }
    await assertOpenFiles(before);
    await store.withdraw(id);
  });
}

function committing(test: Test, large: Buffer): void {
  test('commit, staged bytes, makes them the blob and forgets the upload', async ({ store, signal }) => {
    for (const bytes of [large, Buffer.alloc(0), Buffer.from('small')]) {
      for (const algorithm of ['sha256', 'sha512'] as const) {
        const digest = digestOf(algorithm, bytes);
        const before = Date.now();
        const id = await stageBytes(store, bytes, signal);
        const blob = await store.commit(id, digest, bytes.byteLength);
        assert.ok(blob !== null);
        assert.equal(blob.sizeBytes, bytes.byteLength);
        assert.equal(blob.location, store.locate(id, digest));
        // File systems stamp with the tick of the kernel's coarse clock.
        assert.ok(blob.modifiedAt >= before - 1000 && blob.modifiedAt <= Date.now() + 1000);
        const stat = await store.stat(blob.location);
        // A store far away has a clock of its own.
        assert.ok(Math.abs((stat?.modifiedAt ?? 0) - blob.modifiedAt) <= 2000);
        assert.deepEqual({ ...stat, modifiedAt: blob.modifiedAt }, blob);
        assert.ok((await blobBytes(store, blob.location, signal)).equals(bytes));
        // Bytes that have not moved may count as staged still: the same ones.
        assert.ok([null, bytes.byteLength].includes((await store.staged(id))?.sizeBytes ?? null));
        const again = await store.commit(id, digest, bytes.byteLength);
        assert.ok(again === null || again.location === blob.location);
        assert.ok((await blobBytes(store, blob.location, signal)).equals(bytes));
      }
    }
  });

  test('commit, an unknown upload, is null and makes no blob', async ({ store }) => {
    const digest = digestOf('sha256', Buffer.from('never staged'));
    const id = newUploadId();
    assert.equal(await store.commit(id, digest, 12), null);
    assert.equal(await store.stat(store.locate(id, digest)), null);
  });

  test('commit, of more bytes than are staged, is null; of fewer, drops the rest', async ({
    store,
    signal,
  }) => {
    const id = await stageBytes(store, Buffer.from('half done'), signal);
    const digest = digestOf('sha256', Buffer.from('half'));
    assert.equal(await store.commit(id, digest, 10), null);
    const blob = await store.commit(id, digest, 4);
    assert.ok(blob !== null);
    assert.equal(blob.sizeBytes, 4);
    assert.equal((await blobBytes(store, blob.location, signal)).toString(), 'half');
  });

  test('commit, the same digest from many uploads at once, all succeed, each where it says', async (world) => {
    const { store, signal } = world;
    const bytes = large.subarray(0, 70_000);
    const digest = digestOf('sha256', bytes);
    const ids = await Promise.all(Array.from({ length: 16 }, () => stageBytes(store, bytes, signal)));
    const blobs = await Promise.all(ids.map((id) => store.commit(id, digest, bytes.byteLength)));
    const places = ids.map((id) => store.locate(id, digest));
    assert.deepEqual(
      blobs.map((blob) => blob?.location),
      places,
    );
    const { entries } = await store.list(null, 100);
    assert.deepEqual(new Set(entries.map((entry) => entry.location)), new Set(places));
    for (const place of new Set(places)) assert.ok((await blobBytes(store, place, signal)).equals(bytes));
  });

  test('commit, over a torn blob, heals it and leaves its reader undisturbed', async ({ store, signal }) => {
    const digest = digestOf('sha256', large);
    const torn = large.subarray(0, large.byteLength - 5);
    const before = await store.commit(await stageBytes(store, torn, signal), digest, torn.byteLength);
    assert.ok(before !== null);
    const reader = await store.open(before.location, null, signal);
    assert.ok(reader !== null);
    const healed = await store.commit(await stageBytes(store, large, signal), digest, large.byteLength);
    assert.ok(healed !== null);
    assert.ok((await drain(reader)).equals(torn));
    assert.equal((await store.stat(healed.location))?.sizeBytes, large.byteLength);
    assert.ok((await blobBytes(store, healed.location, signal)).equals(large));
  });

  test('discard, after a commit, leaves the blob', async ({ store, signal }) => {
    const id = await stageBytes(store, large, signal);
    const blob = await store.commit(id, digestOf('sha256', large), large.byteLength);
    assert.ok(blob !== null);
    await store.discard(id);
    assert.ok((await blobBytes(store, blob.location, signal)).equals(large));
  });

  test('withdraw, drops what is staged, and committed bytes only from a place of its own', async (world) => {
    const { store, signal } = world;
    const digest = digestOf('sha256', large);
    const [kept, gone, open] = [newUploadId(), newUploadId(), newUploadId()];
    for (const id of [kept, gone, open]) await store.append(id, 0, chunksOf([large]), signal);
    for (const id of [kept, gone]) assert.ok((await store.commit(id, digest, large.byteLength)) !== null);
    for (const id of [gone, open, newUploadId()]) await store.withdraw(id);
    assert.equal(await store.staged(gone), null);
    assert.equal(await store.staged(open), null);
    assert.ok((await blobBytes(store, store.locate(kept, digest), signal)).equals(large));
    const isShared = store.locate(gone, digest) === store.locate(kept, digest);
    assert.equal((await store.stat(store.locate(gone, digest))) !== null, isShared);
  });

  test('delete, twice, removes the blob; a commit brings it back', async ({ store, signal }) => {
    const { location, digest } = await put(store, Buffer.from('to go'), signal);
    await store.delete(location);
    await store.delete(location);
    assert.equal(await store.stat(location), null);
    assert.equal(await store.open(location, null, signal), null);
    assert.deepEqual((await store.list(null, 10)).entries, []);
    const back = await store.commit(await stageBytes(store, Buffer.from('to go'), signal), digest, 5);
    assert.ok(back !== null);
    assert.equal((await blobBytes(store, back.location, signal)).toString(), 'to go');
  });
}

function reading(test: Test, large: Buffer): void {
  test('open and stat, an absent blob, are null', async ({ store, signal }) => {
    const location = store.locate(newUploadId(), digestOf('sha512', Buffer.from('absent')));
    assert.equal(await store.open(location, null, signal), null);
    assert.equal(await store.stat(location), null);
    assert.ok(store.owns(location) && !store.owns('elsewhere' as BlobLocation));
  });

  test('open, ranges, gives exactly their bytes and the size of the whole', async ({ store, signal }) => {
    const { location } = await put(store, large, signal);
    const last = large.byteLength - 1;
    const ranges = [
      [0, 0],
      [last, last],
      [0, last],
      [1, 65_536],
      [524_287, 524_288],
      [1_000_000, last],
    ] as const;
    for (const [start, end] of ranges) {
      const body = await store.open(location, { start, end }, signal);
      assert.ok(body !== null);
      assert.equal(body.sizeBytes, large.byteLength);
      assert.ok((await drain(body)).equals(large.subarray(start, end + 1)), `bytes ${start}-${end}`);
    }
  });

  test('open, all chunks held by the consumer, none is written over', async ({ store, signal }) => {
    const { location } = await put(store, large, signal);
    const body = await store.open(location, null, signal);
    const held: Uint8Array[] = [];
    for await (const chunk of body?.chunks ?? []) {
      assert.ok(chunk.byteLength > 0);
      held.push(chunk);
    }
    assert.ok(Buffer.concat(held).equals(large));
    for (const chunk of held) chunk.fill(0);
    assert.ok((await blobBytes(store, location, signal)).equals(large), 'a consumer wrote into the store');
  });

  test('close, before, during and after the reading, frees the body', async ({ store, signal }) => {
    const { location } = await put(store, large, signal);
    const unread = await store.open(location, null, signal);
    await unread?.close();
    await unread?.close();
    await assert.rejects(drain(unread as BlobBody));

    const half = await store.open(location, null, signal);
    const iterator = half?.chunks[Symbol.asyncIterator]();
    await iterator?.next();
    await half?.close();
    await assert.rejects(async () => await iterator?.next(), 'a closed body ended as if complete');

    const left = await store.open(location, null, signal);
    for await (const _ of left?.chunks ?? []) break;
    await left?.close();
  });

  test('open, an aborted signal, throws its reason', async ({ store, signal }) => {
    const { location } = await put(store, large, signal);
    const reason = new Error('gone');
    await assert.rejects(store.open(location, null, AbortSignal.abort(reason)), reason);
  });

  test('open, 200 reads aborted at different points, throw the reason and leave no file open', async (world) => {
    const { store, signal } = world;
    const { location } = await put(store, large, signal);
    const before = await openFiles();
    for (let round = 0; round < 200; round++) {
      const abort = new AbortController();
      const reason = new Error('gone');
      const body = await store.open(location, null, abort.signal);
      assert.ok(body !== null);
      const iterator = body.chunks[Symbol.asyncIterator]();
      for (let chunk = 0; chunk < round % 3; chunk++) await iterator.next();
      const pending = round % 2 === 0 ? iterator.next() : null;
      abort.abort(reason);
      if (pending === null) await assert.rejects(iterator.next(), reason);
      else await Promise.allSettled([pending]);
    }
    await assertOpenFiles(before);
  });
}

function listing(test: Test, large: Buffer): void {
  test('list, page by page, names every blob once', async ({ store, signal }) => {
    const locations: BlobLocation[] = [];
    for (let index = 0; index < 23; index++) {
      const bytes = Buffer.from(`blob ${index}`);
      const digest = digestOf(index % 3 === 0 ? 'sha512' : 'sha256', bytes);
      const blob = await store.commit(await stageBytes(store, bytes, signal), digest, bytes.byteLength);
      assert.ok(blob !== null);
      locations.push(blob.location);
    }
    for (const limit of [1, 4, 23, 100]) {
      const pages = await allPages((cursor) => store.list(cursor, limit));
      assert.ok(pages.every((page) => page.length <= limit));
      const found = pages.flat();
      assert.deepEqual(found.map(({ location }) => location).sort(), [...locations].sort());
      for (const blob of found) assert.deepEqual(await store.stat(blob.location), blob);
    }
  });

  test('list, the blob at the cursor deleted between pages, goes on behind it', async ({ store, signal }) => {
    for (let index = 0; index < 9; index++) await put(store, Buffer.from(`blob ${index}`), signal);
    const all = (await store.list(null, 100)).entries.map(({ location }) => location);
    const first = await store.list(null, 4);
    await store.delete(first.entries.at(-1)!.location);
    const rest = await store.list(first.cursor, 100);
    assert.deepEqual(
      rest.entries.map(({ location }) => location),
      all.slice(4),
    );
  });

  test('listStaged and list, page by page, name every upload once, and its size', async (world) => {
    const { store, signal } = world;
    const sizes = [...Array.from({ length: 11 }, (_, index) => index), large.byteLength];
    const ids: UploadId[] = [];
    for (const size of sizes) ids.push(await stageBytes(store, large.subarray(0, size), signal));
    const staged = (await allPages((cursor) => store.listStaged(cursor, 3))).flat();
    // Bytes that stand at their own place already cannot be told from a blob's.
    const standing = (await allPages((cursor) => store.list(cursor, 3))).flat();
    const found = [...staged, ...standing];
    assert.equal(found.length, ids.length);
    assert.deepEqual(new Set(found.map(({ uploadId }) => uploadId)), new Set(ids));
    for (const { uploadId, sizeBytes } of found) {
      assert.equal(sizeBytes, sizes[ids.indexOf(uploadId as UploadId)]);
      await store.withdraw(uploadId as UploadId);
    }
  });

  test('discard, staged bytes apart from the blobs, drops them', async ({ store, signal }) => {
    const id = await stageBytes(store, large, signal);
    if ((await store.listStaged(null, 10)).entries.length > 0) {
      await store.discard(id);
      await store.discard(id);
      assert.equal(await store.staged(id), null);
    }
    await store.withdraw(id);
  });
}

function standing(test: Test): void {
  test('probe, a store in order, resolves; an aborted signal throws its reason', async ({
    store,
    signal,
  }) => {
    await store.probe(signal);
    const reason = new Error('too slow');
    await assert.rejects(store.probe(AbortSignal.abort(reason)), reason);
  });

  test('space, where it is told, is free bytes within a total', async ({ store }) => {
    if (store.space === null) return;
    const { freeBytes, totalBytes } = await store.space();
    assert.ok(Number.isSafeInteger(freeBytes) && Number.isSafeInteger(totalBytes));
    assert.ok(freeBytes >= 0 && freeBytes <= totalBytes);
  });

  test('a store, opened anew, has its uploads and blobs', async ({ store, reopen, signal }) => {
    if (reopen === undefined) return;
    const { location } = await put(store, Buffer.from('blob'), signal);
    const id = await stageBytes(store, Buffer.from('half'), signal);
    const again = await reopen();
    assert.equal((await blobBytes(again, location, signal)).toString(), 'blob');
    assert.equal(await again.append(id, 4, chunksOf([' done']), signal), 9);
    const digest = digestOf('sha256', Buffer.from('half done'));
    const whole = await again.commit(id, digest, 9);
    assert.ok(whole !== null);
    assert.equal(whole.sizeBytes, 9);
    assert.equal((await blobBytes(store, whole.location, signal)).toString(), 'half done');
    await again.close();
  });
}
