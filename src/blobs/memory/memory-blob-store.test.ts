import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Unavailable } from '../../std/unavailable.ts';
import { runBlobStoreContract } from '../contract.ts';
import { newUploadId } from '../upload-id.ts';
import { openMemoryBlobStore } from './memory-blob-store.ts';

runBlobStoreContract({
  name: 'memory',
  open: async () => {
    const store = await openMemoryBlobStore({ bytesMax: 64 * 1024 * 1024 });
    return { store, dispose: () => store.close() };
  },
});

test('append, more than the store may hold, is full; a discard makes room again', async () => {
  const { signal } = new AbortController();
  const store = await openMemoryBlobStore({ bytesMax: 10 });
  const id = newUploadId();
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('1234567');
    yield Buffer.from('8901');
  };
  await assert.rejects(
    store.append(id, 0, chunks(), signal),
    (error) => error instanceof Unavailable && error.full,
  );
  assert.deepEqual(await store.space?.(), { freeBytes: 3, totalBytes: 10 });
  await store.discard(id);
  assert.deepEqual(await store.space?.(), { freeBytes: 10, totalBytes: 10 });
});
