import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { drain, put } from '../contract-bytes.ts';
import { fileOf } from './hot-files.ts';
import type { TieredOptions } from './tiered-blob-store.ts';
import { openTiers } from './tiers-for-tests.ts';

const MIB = 1024 * 1024;
const { signal } = new AbortController();

async function setUp(t: TestContext, options: Partial<TieredOptions>) {
  const tiers = await openTiers({ hotBytesMax: 10 * MIB, ...options });
  t.after(() => tiers.dispose());
  const { store, hotRoot, events } = tiers;
  /** A copy, last used so many minutes ago. */
  const copy = async (minutesAgo: number) => {
    const blob = await put(store, randomBytes(MIB), signal);
    await store.settled();
    const usedAt = new Date(Date.now() - minutesAgo * 60_000);
    await utimes(join(hotRoot, 'copies/blobs', fileOf(blob.location)), usedAt, usedAt).catch(() => undefined);
    return blob;
  };
  const isHere = async (blob: Awaited<ReturnType<typeof copy>>): Promise<boolean> => {
    const before = events.length;
    await drain((await store.open(blob.location, null, signal, blob.digest))!);
    await store.settled();
    return events.slice(before).includes('read_hot');
  };
  return { ...tiers, copy, isHere };
}

test('evict, more than the copies may take, removes the least recently used down to nine tenths', async (t) => {
  const { copy, evict, isHere, store } = await setUp(t, {});
  const ages = [20, 3, 15, 5, 10, 2, 8, 4, 7, 6, 12];
  const copies = [];
  for (const age of ages) copies.push({ age, blob: await copy(age) });
  // Read a moment ago, so that it is not the oldest any more.
  assert.ok(await isHere(copies[0]!.blob));
  assert.equal((await evict())?.['evicted'], 3);
  assert.equal(await evict(), null);
  const sorted = copies.sort((a, b) => a.age - b.age);
  for (const { age, blob } of sorted)
    assert.equal(await isHere(blob), age < 10 || age === 20, `${age} minutes`);
  for (const { blob } of copies) assert.ok((await store.stat(blob.location)) !== null);
});

test('evict, what was not used for longer than the age allows, removes it', async (t) => {
  const { copy, evict, isHere } = await setUp(t, { hotAgeSecondsMax: 600 });
  const [old, young] = [await copy(11), await copy(9)];
  assert.equal((await evict())?.['evicted'], 1);
  assert.ok(await isHere(young));
  assert.ok(!(await isHere(old)));
});

test('evict, never removes what the cold tier does not have, and disturbs no reader', async (t) => {
  const { store, evict, send, cold } = await setUp(t, {
    mode: 'write-back',

    hotBytesMax: 0,
  });
  const bytes = randomBytes(2 * MIB);
  const { location, digest } = await put(store, bytes, signal);
  assert.equal(await evict(), null);
  await send();
  const reader = await store.open(location, null, signal, digest);
  const iterator = reader!.chunks[Symbol.asyncIterator]();
  const parts = [(await iterator.next()).value as Uint8Array];
  assert.equal((await evict())?.['evicted'], 1);
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
    parts.push(next.value);
  assert.ok(Buffer.concat(parts).equals(bytes));
  assert.ok((await cold.stat(location)) !== null);
});

test('evict, the device nearly full, makes room for what waits and for uploads', async (t) => {
  const { store, send, evict } = await setUp(t, {
    mode: 'write-back',
    reserveBytes: Number.MAX_SAFE_INTEGER,
  });
  await put(store, randomBytes(MIB), signal);
  assert.equal(await evict(), null);
  await send();
  assert.equal((await evict())?.['evicted'], 1);
});
