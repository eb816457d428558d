import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { digestOf } from '../../oci/digest.ts';
import { Unavailable } from '../../std/unavailable.ts';
import type { BlobLocation, BlobStore } from '../blob-store.ts';
import { allPages, blobBytes, chunksOf, drain, put, stageBytes } from '../contract-bytes.ts';
import { openMemoryBlobStore } from '../memory/memory-blob-store.ts';
import { newUploadId } from '../upload-id.ts';
import { faulty } from './faulty-store-for-tests.ts';
import type { TieredOptions } from './tiered-blob-store.ts';
import { openTiers, strayFiles } from './tiers-for-tests.ts';

const MIB = 1024 * 1024;
const { signal } = new AbortController();
const BYTES = randomBytes(2 * MIB + 5);
const DIGEST = digestOf('sha256', BYTES);

async function setUp(t: TestContext, options: Partial<TieredOptions> = {}) {
  const behind = faulty(await openMemoryBlobStore({ bytesMax: 256 * MIB }));
  const tiers = await openTiers({ mode: 'write-back', ...options, cold: behind.store });
  t.after(() => tiers.dispose());
  return { ...tiers, behind };
}

async function coldLocations(cold: BlobStore): Promise<string[]> {
  return (await cold.list(null, 1000)).entries.map(({ location }) => location).sort();
}

async function read(store: BlobStore, location: BlobLocation, digest = DIGEST): Promise<Buffer> {
  const body = await store.open(location, null, signal, digest);
  assert.ok(body !== null);
  return await drain(body);
}

test('commit, the cold tier away, is durable here and reaches it later', async (t) => {
  const { store, behind, cold, send, hotRoot } = await setUp(t);
  behind.away = true;
  const { location } = await put(store, BYTES, signal);
  assert.ok((await read(store, location)).equals(BYTES));
  assert.equal((await store.stat(location))?.sizeBytes, BYTES.byteLength);
  assert.equal((await send())?.['failed'], 1);
  behind.away = false;
  assert.deepEqual(await coldLocations(cold), []);
  assert.deepEqual(await send(), { sent: 1, sentBytes: BYTES.byteLength, failed: 0 });
  assert.deepEqual(await coldLocations(cold), [location]);
  assert.ok((await blobBytes(cold, location, signal)).equals(BYTES));
  assert.equal(await send(), null);
  // What was sent stays as a copy.
  behind.away = true;
  assert.ok((await read(store, location)).equals(BYTES));
  assert.deepEqual(await strayFiles(hotRoot), []);
});

test('what waits, after a restart, is read and sent', async (t) => {
  const tiers = await setUp(t);
  const { location } = await put(tiers.store, BYTES, signal);
  await tiers.store.close();
  const again = await tiers.again({ mode: 'write-through' });
  assert.ok((await read(again.store, location)).equals(BYTES));
  assert.equal((await again.send())?.['sent'], 1);
  assert.deepEqual(await coldLocations(tiers.cold), [location]);
  await again.store.close();
});

test('send, after a crash between the cold commit and the end, sends again', async (t) => {
  const { store, cold, send } = await setUp(t);
  const id = await stageBytes(store, BYTES, signal);
  const stored = await store.commit(id, DIGEST, BYTES.byteLength);
  await cold.append(id, 0, chunksOf([BYTES]), signal);
  await cold.commit(id, DIGEST, BYTES.byteLength);
  assert.equal((await send())?.['sent'], 1);
  assert.ok((await blobBytes(cold, stored!.location, signal)).equals(BYTES));
  assert.deepEqual(await coldLocations(cold), [stored!.location]);
});

test('commit, the backlog full, waits for the cold tier, and is Unavailable while that is away', async (t) => {
  const { store, behind, cold, count, send } = await setUp(t, { backlogBytesMax: 3 * MIB });
  await put(store, BYTES, signal);
  behind.away = true;
  const id = await stageBytes(store, BYTES, signal);
  await assert.rejects(store.commit(id, DIGEST, BYTES.byteLength), Unavailable);
  behind.away = false;
  const stored = await store.commit(id, DIGEST, BYTES.byteLength);
  assert.deepEqual(await coldLocations(cold), [stored!.location]);
  assert.equal(count('backlog_full'), 2);
  assert.equal((await send())?.['sent'], 1);
  assert.equal(await store.staged(id), null);
});

test('delete and withdraw, of what waits, keep it from the cold tier', async (t) => {
  const { store, cold, send } = await setUp(t);
  const { location } = await put(store, BYTES, signal);
  const id = await stageBytes(store, BYTES, signal);
  const stored = await store.commit(id, DIGEST, BYTES.byteLength);
  await store.delete(location);
  await store.withdraw(id);
  for (const gone of [location, stored!.location]) assert.equal(await store.stat(gone), null);
  assert.equal(await send(), null);
  assert.deepEqual(await coldLocations(cold), []);
});

test('delete, while the blob is being sent, leaves nothing in the cold tier', async (t) => {
  const { store, cold, again } = await setUp(t);
  const { location } = await put(store, BYTES, signal);
  // The place is known to the cold tier from the first byte on: the deletion comes in before the commit.
  const deleting = new Proxy(cold, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name !== 'commit') return typeof value === 'function' ? value.bind(target) : value;
      return async (...args: Parameters<BlobStore['commit']>) => {
        await store.delete(location);
        return await target.commit(...args);
      };
    },
  });
  const sender = await openTiers({ mode: 'write-back', hotRoot: (await again()).hotRoot, cold: deleting });
  await sender.send();
  assert.deepEqual(await coldLocations(cold), []);
  assert.equal(await store.stat(location), null);
});

test('discard and withdraw, of an upload that is staged here, need no cold tier', async (t) => {
  const { store, behind } = await setUp(t);
  behind.away = true;
  for (const end of ['discard', 'withdraw'] as const) {
    const id = await stageBytes(store, BYTES, signal);
    await store[end](id);
    assert.equal(await store.staged(id), null);
  }
});

test('send, a file that rotted while it waited, keeps its bytes from the cold tier and goes on with others', async (t) => {
  const { store, cold, send, hotRoot, count } = await setUp(t);
  const { location } = await put(store, BYTES, signal);
  const entries = await readdir(join(hotRoot, 'backlog/blobs'), { recursive: true, withFileTypes: true });
  const file = entries.find((entry) => entry.isFile());
  const handle = await open(join(file!.parentPath, file!.name), 'r+');
  await handle.write(Buffer.from([BYTES[MIB]! ^ 1]), 0, 1, MIB);
  await handle.close();
  await assert.rejects(read(store, location), /is damaged on this machine/);
  await send();
  const other = await put(store, BYTES.subarray(9), signal);
  await send();
  assert.deepEqual(await coldLocations(cold), [other.location]);
  assert.equal(count('send_failed'), 1);
});

test('list, of blobs here and in the cold tier, names each once', async (t) => {
  const { store, send } = await setUp(t);
  const places: string[] = [];
  for (let index = 0; index < 9; index++) {
    places.push((await put(store, Buffer.from(`blob ${index}`), signal)).location);
    if (index === 4) await send();
  }
  for (const limit of [1, 3, 5, 100]) {
    const found = (await allPages((cursor) => store.list(cursor, limit))).flat();
    assert.deepEqual(found.map(({ location }) => location).sort(), [...places].sort());
    for (const blob of found) assert.deepEqual(await store.stat(blob.location), blob);
  }
});

test('an empty blob, is committed, read, sent and copied like any other', async (t) => {
  const { store, behind, send } = await setUp(t);
  const empty = digestOf('sha256', Buffer.alloc(0));
  const { location } = await put(store, Buffer.alloc(0), signal);
  assert.equal((await read(store, location, empty)).byteLength, 0);
  assert.equal((await send())?.['sent'], 1);
  behind.away = true;
  assert.equal((await read(store, location, empty)).byteLength, 0);
  assert.equal(await store.commit(newUploadId(), empty, 0), null);
});

test('send, what was pushed for another cold tier, stays', async (t) => {
  const { store, send, again, hotRoot } = await setUp(t);
  await put(store, BYTES, signal);
  const { openFsBlobStore } = await import('../fs/fs-blob-store.ts');
  const other = await openTiers({
    mode: 'write-back',
    hotRoot,
    cold: await openFsBlobStore({ root: join(hotRoot, 'other') }),
  });
  assert.deepEqual(await other.send(), { sent: 0, sentBytes: 0, failed: 1 });
  assert.equal((await send())?.['sent'], 1);
  await (await again()).store.close();
});
