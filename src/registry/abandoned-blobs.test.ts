import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openMemoryBlobStore } from '../blobs/memory/memory-blob-store.ts';
import { newUploadId } from '../blobs/upload-id.ts';
import { openTemporaryMetaStore } from '../meta/sqlite/temporary-meta-store.ts';
import { digestOf } from '../oci/digest.ts';
import { removeAbandonedBlobs } from './abandoned-blobs.ts';

const HOUR_MILLISECONDS = 60 * 60 * 1000;
const BYTES = Buffer.from('abandoned');
const DIGEST = digestOf('sha256', BYTES);

test('removeAbandonedBlobs, of a push that died after its bytes were placed, removes bytes and row', async () => {
  const meta = await openTemporaryMetaStore();
  const blobs = await openMemoryBlobStore({ bytesMax: 1024 });
  const location = blobs.locate(DIGEST);
  const id = newUploadId();
  await meta.transaction((tx) => tx.blobs.claim(DIGEST, BYTES.length, location, 0));
  const { signal } = new AbortController();
  await blobs.append(id, 0, pieces(), signal);
  await blobs.commit(id, DIGEST, BYTES.length);
  let now = HOUR_MILLISECONDS;
  const deps = { meta, blobs, clock: { now: () => now }, graceSeconds: 0 };
  assert.equal(await removeAbandonedBlobs(deps, 9), 0, 'a commit may still be at it');
  now += 1;
  assert.equal(await removeAbandonedBlobs(deps, 9), 1);
  assert.equal(await meta.read.blobs.find(DIGEST), null);
  assert.equal(await blobs.stat(location), null);
  await meta.close();
});

async function* pieces(): AsyncGenerator<Uint8Array> {
  yield BYTES;
}
