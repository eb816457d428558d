import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { forceBlob, stagedCommit } from '../../test/harness/staged-commit.ts';
import type { BlobLocation, BlobStore, UploadId } from '../blobs/blob-store.ts';
import { openFsBlobStore } from '../blobs/fs/fs-blob-store.ts';
import { measured } from '../blobs/measured.ts';
import { openMemoryBlobStore } from '../blobs/memory/memory-blob-store.ts';
import { newUploadId } from '../blobs/upload-id.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { openTemporaryMetaStore } from '../meta/sqlite/temporary-meta-store.ts';
import { digestOf } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import { systemClock } from '../std/clock.ts';
import { Unavailable } from '../std/unavailable.ts';
import { commitBlob } from './commit-blob.ts';
import { withdrawEnded } from './ended-uploads.ts';
import { expireUploads } from './expire-uploads.ts';
import { noFence } from './fence.ts';

const repository = 'org/app' as RepositoryName;
const bytes = Buffer.from('committed');
const digest = digestOf('sha256', bytes);

function isUploadUnknown(error: unknown): boolean {
  return error instanceof RegistryError && error.code === 'BLOB_UPLOAD_UNKNOWN';
}

describe('commitBlob', () => {
  let directory: string;
  let meta: MetaStore;
  let blobs: BlobStore;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drift-commit-'));
    meta = await openTemporaryMetaStore();
    blobs = await openFsBlobStore({ root: directory });
  });
  afterEach(async () => {
    await blobs.close();
    await meta.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const deps = () => ({ meta, blobs, clock: systemClock, graceSeconds: 60, runId: 'run' });

  const staged = () => stagedCommit({ meta, blobs }, { repository, bytes });

  it('commitBlob, when the ledger fails after the bytes were placed, leaves a claimed row and its review', async () => {
    // Another request cancels the upload while its bytes are made durable: the last transaction refuses.
    const cancelled: BlobStore = {
      ...measured(blobs, { storeOperation: () => {} }),
      commit: async (uploadId, ...rest) => {
        const stored = await blobs.commit(uploadId, ...rest);
        await meta.transaction((tx) => tx.uploads.end(uploadId, null, 1));
        return stored;
      },
    };
    await assert.rejects(commitBlob({ ...deps(), blobs: cancelled }, await staged()), isUploadUnknown);
    assert.equal((await meta.read.blobs.find(digest))?.state, 'placing');
    assert.equal(await meta.read.blobs.findLinked(repository, digest), null);
    assert.equal(await meta.read.repositories.find(repository), null);
    const reviews = await meta.read.queues.reviews({ dueBefore: null, limit: 10 });
    assert.deepEqual(
      reviews.map((review) => [review.kind, review.digest]),
      [['blob', digest]],
    );
    await commitBlob(deps(), await staged());
    assert.equal((await meta.read.blobs.findLinked(repository, digest))?.sizeBytes, bytes.length);
  });

  it('commitBlob, of an upload that another request holds by now, claims and places nothing', async () => {
    await assert.rejects(commitBlob(deps(), { ...(await staged()), leaseToken: 'lost' }), isUploadUnknown);
    assert.equal(await meta.read.blobs.find(digest), null);
    assert.deepEqual((await blobs.list(null, 10)).entries, []);
  });

  it('commitBlob, of a blob that is there already, links it and keeps one copy', async () => {
    await commitBlob(deps(), await staged());
    await commitBlob(deps(), { ...(await staged()), repository: 'org/second' as RepositoryName });
    assert.equal((await blobs.list(null, 10)).entries.length, 1);
    assert.deepEqual(await meta.read.blobs.repositoriesLinking(digest, null, 10), [repository, 'org/second']);
  });
});

describe('commitBlob, where each upload has a place of its own', () => {
  let meta: MetaStore;
  let blobs: BlobStore;

  beforeEach(async () => {
    meta = await openTemporaryMetaStore();
    blobs = await openMemoryBlobStore({ bytesMax: 1024 });
  });
  afterEach(() => meta.close());

  const deps = () => ({ meta, blobs, clock: systemClock, graceSeconds: 60, runId: 'run' });
  const staged = () => stagedCommit({ meta, blobs }, { repository, bytes });
  const request = { limit: 10, signal: new AbortController().signal, fence: noFence };
  const later = (minutes: number) => ({ meta, blobs, clock: { now: () => Date.now() + minutes * 60_000 } });
  const dying = (): BlobStore => ({
    ...measured(blobs, { storeOperation: () => {} }),
    withdraw: () => Promise.reject(new Unavailable('blob store', 'the process died', { retryable: true })),
  });
  const forceLate = (uploadId: UploadId) =>
    blobs.append(uploadId, 0, Readable.from([bytes]), new AbortController().signal);
  const locations = async () => (await blobs.list(null, 10)).entries.map((entry) => entry.location);
  const standing = async () => (await meta.read.blobs.findLinked(repository, digest))?.location;

  it('commitBlob, of a blob that is there already, leaves it where it is and keeps no second copy', async () => {
    const first = await staged();
    await commitBlob(deps(), first);
    await commitBlob(deps(), await staged());
    assert.deepEqual(await locations(), [blobs.locate(first.uploadId, digest)]);
    assert.deepEqual((await blobs.listStaged(null, 10)).entries, []);
    assert.equal(await standing(), blobs.locate(first.uploadId, digest));
  });

  it('commitBlob, of one digest by many at once, keeps one copy: the one that the ledger names', async () => {
    const commits = await Promise.all([staged(), staged(), staged()]);
    await Promise.all(commits.map((commit) => commitBlob(deps(), commit)));
    assert.deepEqual(await locations(), [await standing()]);
  });

  it('commitBlob, of a blob whose bytes are gone or torn, brings them back at its own place', async () => {
    for (const torn of [null, Buffer.from('torn')]) {
      await commitBlob(deps(), await staged());
      await blobs.delete((await standing()) as BlobLocation);
      if (torn !== null) {
        const location = await forceBlob(blobs, torn, digest);
        const row = { digest, sizeBytes: bytes.length, location };
        await meta.transaction(async (tx) => tx.blobs.place(row, (await standing()) ?? null, 1));
      }
      const next = await staged();
      await commitBlob(deps(), next);
      assert.equal(await standing(), blobs.locate(next.uploadId, digest));
      assert.equal((await blobs.stat(blobs.locate(next.uploadId, digest)))?.sizeBytes, bytes.length);
    }
  });

  it('commitBlob, that dies before it withdraws what is not needed, leaves it to withdrawEnded', async () => {
    await commitBlob(deps(), await staged());
    await commitBlob({ ...deps(), blobs: dying() }, await staged());
    const left = async () => (await blobs.listStaged(null, 10)).entries.length;
    assert.equal(await left(), 1);
    assert.equal(await withdrawEnded(later(59), request), 0);
    assert.equal(await withdrawEnded(later(61), request), 1);
    assert.equal(await left(), 0);
    assert.deepEqual(await locations(), [await standing()]);
    assert.deepEqual(await meta.read.uploads.ended(Number.MAX_SAFE_INTEGER, 10), []);
  });

  it('commitBlob, of a blob that was torn where it stood, leaves the torn one to withdrawEnded', async () => {
    await commitBlob(deps(), await staged());
    const torn = await forceBlob(blobs, Buffer.from('torn'), digest);
    await meta.transaction(async (tx) =>
      tx.blobs.place({ digest, sizeBytes: bytes.length, location: torn }, (await standing()) ?? null, 1),
    );
    await commitBlob(deps(), await staged());
    assert.ok((await locations()).includes(torn));
    assert.equal(await withdrawEnded(later(61), request), 1);
    assert.ok(!(await locations()).includes(torn));
    assert.ok((await locations()).includes((await standing()) as BlobLocation));
  });

  it('withdrawEnded, of an upload whose holder wrote after its end, takes that away, too', async () => {
    const { uploadId, leaseToken } = await staged();
    await meta.transaction((tx) => tx.uploads.end(uploadId, leaseToken, Date.now()));
    await blobs.withdraw(uploadId);
    await forceLate(uploadId);
    await withdrawEnded(later(61), request);
    assert.deepEqual((await blobs.listStaged(null, 10)).entries, []);
    assert.deepEqual(await locations(), []);
  });

  it('withdrawEnded, of one that cannot be withdrawn, sees to the others and tries that one later', async () => {
    const commits = [await staged(), await staged(), await staged()];
    const bad = commits[0]?.uploadId;
    for (const { uploadId, leaseToken } of commits)
      await meta.transaction((tx) => tx.uploads.end(uploadId, leaseToken, Date.now()));
    const picky: BlobStore = {
      ...measured(blobs, { storeOperation: () => {} }),
      withdraw: (id) =>
        id === bad
          ? Promise.reject(new Unavailable('blob store', 'denied', { retryable: false }))
          : blobs.withdraw(id),
    };
    await assert.rejects(withdrawEnded({ ...later(61), blobs: picky }, request), Unavailable);
    assert.deepEqual(await meta.read.uploads.ended(Number.MAX_SAFE_INTEGER, 10), [bad]);
    assert.equal(await withdrawEnded(later(62), request), 0);
    assert.equal(await withdrawEnded(later(123), request), 1);
    assert.deepEqual((await blobs.listStaged(null, 10)).entries, []);
  });

  it('withdrawEnded, while the store is away, gives up after a few', async () => {
    for (let number = 0; number < 100; number += 1)
      await meta.transaction((tx) => tx.uploads.noteEnded(newUploadId(), Date.now()));
    let asked = 0;
    const away: BlobStore = {
      ...dying(),
      withdraw: async () => {
        asked += 1;
        throw new Unavailable('blob store', 'away', { retryable: true });
      },
    };
    await assert.rejects(
      withdrawEnded({ ...later(61), blobs: away }, { ...request, limit: 100 }),
      Unavailable,
    );
    assert.ok(asked <= 32, `${asked}`);
  });

  it('expireUploads, that dies before it withdraws, leaves the bytes to withdrawEnded', async () => {
    const commit = await staged();
    await blobs.commit(commit.uploadId, digest, bytes.length);
    const progress = { offsetBytes: bytes.length, digestSoFar: digest, hashedInRun: null, expiresAt: 2 };
    await meta.transaction((tx) => tx.uploads.release(commit.uploadId, commit.leaseToken, progress));
    const expiring = expireUploads({ ...later(0), blobs: dying() }, { limit: 10, fence: noFence });
    await assert.rejects(expiring, Unavailable);
    assert.equal((await locations()).length, 1);
    assert.equal(await withdrawEnded(later(61), request), 1);
    assert.deepEqual(await locations(), []);
  });

  it('expireUploads, of an upload whose bytes were committed and never taken notice of, removes them', async () => {
    const commit = await staged();
    await blobs.commit(commit.uploadId, digest, bytes.length);
    const progress = { offsetBytes: bytes.length, digestSoFar: digest, hashedInRun: null, expiresAt: 2 };
    await meta.transaction((tx) => tx.uploads.release(commit.uploadId, commit.leaseToken, progress));
    assert.equal(await expireUploads({ meta, blobs, clock: systemClock }, { limit: 10, fence: noFence }), 1);
    assert.deepEqual(await locations(), []);
  });
});
