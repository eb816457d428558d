import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { forceBlob } from '../../test/harness/staged-commit.ts';
import type { BlobLocation, BlobStore } from '../blobs/blob-store.ts';
import { openMemoryBlobStore } from '../blobs/memory/memory-blob-store.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { openTemporaryMetaStore } from '../meta/sqlite/temporary-meta-store.ts';
import { digestOf } from '../oci/digest.ts';
import { removeAbandonedBlobs } from './abandoned-blobs.ts';
import { noFence } from './fence.ts';

const HOUR_MILLISECONDS = 60 * 60 * 1000;
const TAKE_OVER_MILLISECONDS = 10 * 60 * 1000;
const SIGNAL = new AbortController().signal;
const BYTES = Buffer.from('abandoned');
const DIGEST = digestOf('sha256', BYTES);

let meta: MetaStore;
let blobs: BlobStore;
let now: number;
let location: BlobLocation;
beforeEach(async () => {
  now = HOUR_MILLISECONDS + 1;
  meta = await openTemporaryMetaStore();
  blobs = await openMemoryBlobStore({ bytesMax: 1024 });
});
afterEach(() => meta.close());

/** What a push leaves that dies between the rename and its last transaction. */
async function dyingPush(): Promise<void> {
  location = await forceBlob(blobs, BYTES, DIGEST);
  const bytes = { digest: DIGEST, sizeBytes: BYTES.length, location };
  await meta.transaction((tx) => tx.blobs.claim(bytes, 0));
}

function remove(signal = SIGNAL): Promise<number> {
  const deps = { meta, blobs, clock: { now: () => now }, graceSeconds: 0 };
  return removeAbandonedBlobs(deps, { limit: 9, signal, fence: noFence });
}

test('removeAbandonedBlobs, of a push that died after its bytes were placed, removes bytes and row', async () => {
  await dyingPush();
  now -= 1;
  assert.equal(await remove(), 0, 'a commit may still be at it');
  now += 1;
  assert.equal(await remove(), 1);
  assert.equal(await meta.read.blobs.find(DIGEST), null);
  assert.equal(await blobs.stat(location), null);
});

test('removeAbandonedBlobs, that has lost its lease, leaves what it marked to a later run', async () => {
  await dyingPush();
  assert.equal(await remove(AbortSignal.abort()), 0);
  assert.equal((await meta.read.blobs.find(DIGEST))?.state, 'deleting');
  assert.equal((await blobs.stat(location))?.sizeBytes, BYTES.length);
  now += TAKE_OVER_MILLISECONDS;
  assert.equal(await remove(), 0, 'the run that marked it may still be at it');
  now += 1;
  assert.equal(await remove(), 1);
  assert.equal(await blobs.stat(location), null);
});
