import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../oci/digest.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import { runBlobStoreContract } from './contract.ts';
import { measured } from './measured.ts';
import { openMemoryBlobStore } from './memory/memory-blob-store.ts';
import { newUploadId } from './upload-id.ts';

runBlobStoreContract({
  name: 'memory, measured',
  open: async () => {
    const store = measured(await openMemoryBlobStore({ bytesMax: 64 * 1024 * 1024 }), recording([]));
    return { store, dispose: () => store.close() };
  },
});

test('measured, operations that succeed and fail, reports each with its outcome', async () => {
  const samples: string[] = [];
  const { signal } = new AbortController();
  const store = measured(await openMemoryBlobStore({ bytesMax: 1024 }), recording(samples));
  const id = newUploadId();
  await assert.rejects(store.append(id, 9, chunks('x'), signal), RangeError);
  await store.append(id, 0, chunks('bytes'), signal);
  const blob = await store.commit(id, digestOf('sha256', Buffer.from('bytes')), 5);
  const body = await store.open(blob!.location, null, signal);
  for await (const _ of body?.chunks ?? []);
  const closed = await store.open(blob!.location, null, signal);
  await closed?.close();
  await assert.rejects(async () => {
    for await (const _ of closed?.chunks ?? []);
  });
  assert.deepEqual(samples, [
    'memory append error',
    'memory append ok',
    'memory commit ok',
    'memory open ok',
    'memory read ok',
    'memory open ok',
    'memory read error',
  ]);
});

async function* chunks(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

function recording(samples: string[]): Pick<Metrics, 'storeOperation'> {
  return {
    storeOperation: (driver, operation, outcome, seconds) => {
      assert.ok(seconds >= 0 && seconds < 60);
      samples.push(`${driver} ${operation} ${outcome}`);
    },
  };
}
