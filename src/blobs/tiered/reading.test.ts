import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open, readdir, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Digest, digestOf } from '../../oci/digest.ts';
import { Unavailable } from '../../std/unavailable.ts';
import type { BlobBody, BlobLocation, BlobStore, ByteRange } from '../blob-store.ts';
import { drain, put, stageBytes } from '../contract-bytes.ts';
import { systemFileOperations } from '../fs/file-operations.ts';
import { openMemoryBlobStore } from '../memory/memory-blob-store.ts';
import { faulty } from './faulty-store-for-tests.ts';
import type { TieredOptions } from './tiered-blob-store.ts';
import { openTiers, strayFiles, type Tiers } from './tiers-for-tests.ts';

const MIB = 1024 * 1024;
const { signal } = new AbortController();
const BYTES = randomBytes(3 * MIB + 17);
const DIGEST = digestOf('sha256', BYTES);

interface Setting extends Tiers {
  readonly behind: ReturnType<typeof faulty>;
  /** Puts the bytes into the cold tier only. */
  readonly putCold: (bytes: Buffer, digest?: Digest) => Promise<BlobLocation>;
}

async function setUp(t: TestContext, options: Partial<TieredOptions> = {}): Promise<Setting> {
  const behind = faulty(await openMemoryBlobStore({ bytesMax: 256 * MIB }));
  const tiers = await openTiers({ ...options, cold: behind.store });
  t.after(() => tiers.dispose());
  return {
    ...tiers,
    behind,
    async putCold(bytes, digest = digestOf('sha256', bytes)) {
      const id = await stageBytes(behind.store, bytes, signal);
      return (await behind.store.commit(id, digest, bytes.byteLength))!.location;
    },
  };
}

async function read(
  store: BlobStore,
  location: BlobLocation,
  range: ByteRange | null = null,
  digest = DIGEST,
): Promise<Buffer> {
  const body = await store.open(location, range, signal, digest);
  assert.ok(body !== null);
  const bytes = await drain(body);
  await body.close();
  return bytes;
}

async function copyFiles(hotRoot: string): Promise<string[]> {
  const entries = await readdir(join(hotRoot, 'copies/blobs'), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function firstChunk(body: BlobBody): Promise<AsyncIterator<Uint8Array>> {
  const iterator = body.chunks[Symbol.asyncIterator]();
  assert.ok(((await iterator.next()).value as Uint8Array).byteLength > 0);
  return iterator;
}

async function rest(iterator: AsyncIterator<Uint8Array>): Promise<number> {
  let bytes = 0;
  for (;;) {
    const next = await iterator.next();
    if (next.done === true) return bytes;
    bytes += next.value.byteLength;
  }
}

test('open, what was pushed through, comes from this machine', async (t) => {
  const { store, behind, count } = await setUp(t);
  const { location } = await put(store, BYTES, signal);
  await store.settled();
  behind.away = true;
  assert.ok((await read(store, location)).equals(BYTES));
  assert.ok(
    (await read(store, location, { start: 524_287, end: 2 * MIB })).equals(
      BYTES.subarray(524_287, 2 * MIB + 1),
    ),
  );
  assert.equal(count('read_hot'), 2);
});

test('open, an upload of two requests by two processes, is copied as well', async (t) => {
  const tiers = await setUp(t);
  const other = await tiers.again();
  const id = await stageBytes(tiers.store, BYTES.subarray(0, MIB), signal);
  const second = async function* () {
    yield BYTES.subarray(MIB);
  };
  await other.store.append(id, MIB, second(), signal);
  const stored = await tiers.store.commit(id, DIGEST, BYTES.byteLength);
  await tiers.store.settled();
  tiers.behind.away = true;
  assert.ok((await read(other.store, stored!.location)).equals(BYTES));
  await other.store.close();
});

test('open, a blob that only the cold tier has, is copied on the way', async (t) => {
  const { store, behind, putCold, count, hotRoot } = await setUp(t);
  const location = await putCold(BYTES);
  assert.ok((await read(store, location)).equals(BYTES));
  await store.settled();
  behind.away = true;
  assert.ok((await read(store, location)).equals(BYTES));
  assert.deepEqual([count('read_hot'), count('filled'), behind.opens], [1, 1, 1]);
  assert.deepEqual(await strayFiles(hotRoot), []);
});

test('open, many readers of a missing blob in two processes, follow one download from its first byte', async (t) => {
  const tiers = await setUp(t);
  const { store, behind, putCold } = tiers;
  const other = await tiers.again();
  const location = await putCold(BYTES);
  const release = behind.hold();
  const readers = [];
  for (const from of [store, store, store, other.store, other.store]) {
    const body = await from.open(location, null, signal, DIGEST);
    assert.ok(body !== null);
    readers.push(await firstChunk(body));
  }
  assert.equal(behind.opens, 1);
  release();
  for (const reader of readers) assert.ok((await rest(reader)) > 0);
  for (const from of [store, other.store]) assert.ok((await read(from, location)).equals(BYTES));
  assert.deepEqual([behind.opens, behind.rangeOpens], [1, 0]);
  await other.store.close();
});

test('open, a reader that goes away, takes the download from nobody', async (t) => {
  const { store, behind, putCold } = await setUp(t);
  const location = await putCold(BYTES);
  const release = behind.hold();
  const leaving = new AbortController();
  const gone = await firstChunk((await store.open(location, null, leaving.signal, DIGEST))!);
  const stays = await store.open(location, null, signal, DIGEST);
  leaving.abort(new Error('the client is gone'));
  await assert.rejects(async () => await gone.next(), /the client is gone/);
  release();
  assert.ok((await drain(stays!)).equals(BYTES));
  assert.equal(behind.opens, 1);
});

test('open, a range of a missing blob, does not wait for the whole, which is copied meanwhile', async (t) => {
  const { store, behind, putCold } = await setUp(t);
  const location = await putCold(BYTES);
  const release = behind.hold();
  const range = { start: 2 * MIB, end: 2 * MIB + 99 };
  assert.ok((await read(store, location, range)).equals(BYTES.subarray(range.start, range.end + 1)));
  assert.equal(behind.rangeOpens, 1);
  release();
  await store.settled();
  assert.equal(behind.opens, 1);
  behind.away = true;
  assert.ok((await read(store, location)).equals(BYTES));
});

test('open, without the digest, asks what the cold tier keeps', async (t) => {
  const { store, behind } = await setUp(t);
  const { location } = await put(store, BYTES, signal);
  await store.settled();
  assert.ok((await drain((await store.open(location, null, signal))!)).equals(BYTES));
  assert.equal(behind.opens, 1);
  behind.away = true;
  await assert.rejects(store.open(location, null, signal), Unavailable);
});

test('open, a rotten copy, gives the right bytes and is replaced', async (t) => {
  const places = [0, MIB, BYTES.byteLength - 1, BYTES.byteLength + 3, BYTES.byteLength + 60];
  for (const position of places) {
    const { store, behind, hotRoot, count, evict } = await setUp(t);
    const { location } = await put(store, BYTES, signal);
    await store.settled();
    const [file] = await copyFiles(hotRoot);
    const handle = await open(file!, 'r+');
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, position);
    await handle.write(Buffer.from([buffer[0]! ^ 1]), 0, 1, position);
    await handle.close();
    // Another process has no seal of it in memory.
    const fresh = await openTiers({ hotRoot, cold: behind.store });
    assert.ok((await read(fresh.store, location)).equals(BYTES), `byte ${position}`);
    await fresh.store.settled();
    assert.ok((await read(fresh.store, location)).equals(BYTES), `byte ${position}`);
    await fresh.store.settled();
    behind.away = true;
    assert.ok((await read(fresh.store, location)).equals(BYTES), `byte ${position}`);
    await evict();
    assert.equal(count('evicted'), 0);
    await fresh.store.close();
  }
});

test('open, a copy cut short or removed behind our back, gives the right bytes', async (t) => {
  const { store, putCold, hotRoot } = await setUp(t);
  const location = await putCold(BYTES);
  for (const damage of [
    async (file: string) => truncate(file, MIB),
    async (file: string) => truncate(file, 0),
  ]) {
    assert.ok((await read(store, location)).equals(BYTES));
    await store.settled();
    for (const file of await copyFiles(hotRoot)) await damage(file);
    assert.ok((await read(store, location)).equals(BYTES));
    await store.settled();
  }
});

test('open, a blob that is rotten in the cold tier, ends with an error and leaves no copy', async (t) => {
  const { store, putCold, hotRoot } = await setUp(t);
  const other = Buffer.from(BYTES);
  other[MIB]! ^= 1;
  const location = await putCold(other, DIGEST);
  await assert.rejects(read(store, location), /damaged in the cold tier/);
  await store.settled();
  assert.deepEqual([...(await copyFiles(hotRoot)), ...(await strayFiles(hotRoot))], []);
});

test('open, the cold tier away, serves copies and is Unavailable for the rest', async (t) => {
  const { store, behind, putCold } = await setUp(t);
  const { location } = await put(store, BYTES, signal);
  await store.settled();
  const missingDigest = digestOf('sha256', BYTES.subarray(0, MIB));
  const missing = await putCold(BYTES.subarray(0, MIB));
  behind.away = true;
  assert.ok((await read(store, location)).equals(BYTES));
  await assert.rejects(store.open(missing, null, signal, missingDigest), Unavailable);
  await assert.rejects(store.open(missing, { start: 0, end: 9 }, signal, missingDigest), Unavailable);
  behind.away = false;
  assert.equal((await read(store, missing, null, missingDigest)).byteLength, MIB);
});

test('a hot directory whose device is full, reads and pushes go on from the cold tier', async (t) => {
  let isFull = false;
  const files = {
    ...systemFileOperations,
    open: async (...args: Parameters<typeof open>) => {
      const handle = await open(...args);
      const write = handle.write.bind(handle) as (...parts: unknown[]) => Promise<unknown>;
      const failing = async (...parts: unknown[]): Promise<unknown> => {
        if (!isFull) return write(...parts);
        throw Object.assign(new Error('no space left'), { code: 'ENOSPC', syscall: 'write' });
      };
      return Object.assign(handle, { write: failing });
    },
  };
  const { store, putCold, behind, hotRoot } = await setUp(t, { files });
  const missing = await putCold(BYTES);
  isFull = true;
  assert.ok((await read(store, missing)).equals(BYTES));
  const { location } = await put(store, BYTES, signal);
  assert.ok((await read(store, location)).equals(BYTES));
  await store.settled();
  assert.deepEqual([...(await copyFiles(hotRoot)), ...(await strayFiles(hotRoot))], []);
  isFull = false;
  assert.ok((await read(store, missing)).equals(BYTES));
  await store.settled();
  behind.away = true;
  assert.ok((await read(store, missing)).equals(BYTES));
});

test('a blob larger than its share of the copies, is served and not copied', async (t) => {
  const { store, putCold, hotRoot, count } = await setUp(t, { hotBytesMax: 8 * MIB });
  const location = await putCold(BYTES);
  assert.ok((await read(store, location)).equals(BYTES));
  await store.settled();
  assert.equal(count('copy_skipped'), 1);
  assert.deepEqual(await copyFiles(hotRoot), []);
});
