import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { stagedCommit } from '../../test/harness/staged-commit.ts';
import type { BlobStore } from '../blobs/blob-store.ts';
import { openFsBlobStore } from '../blobs/fs/fs-blob-store.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { openTemporaryMetaStore } from '../meta/sqlite/temporary-meta-store.ts';
import { digestOf } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import { systemClock } from '../std/clock.ts';
import { commitBlob } from './commit-blob.ts';

const repository = 'org/app' as RepositoryName;
const bytes = Buffer.from('committed');
const digest = digestOf('sha256', bytes);

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

  const deps = () => ({ meta, blobs, clock: systemClock, graceSeconds: 60 });

  const staged = () => stagedCommit({ meta, blobs }, { repository, bytes });

  it('commitBlob, when the ledger fails after the bytes were placed, leaves a claimed row and its review', async () => {
    const commit = await staged();
    // A lease that another request has taken over: the last transaction refuses.
    const refused = commitBlob(deps(), { ...commit, leaseToken: 'lost' });
    await assert.rejects(
      refused,
      (error) => error instanceof RegistryError && error.code === 'BLOB_UPLOAD_UNKNOWN',
    );
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

  it('commitBlob, of a blob that is there already, links it and keeps one copy', async () => {
    await commitBlob(deps(), await staged());
    await commitBlob(deps(), { ...(await staged()), repository: 'org/second' as RepositoryName });
    assert.equal((await blobs.list(null, 10)).entries.length, 1);
    assert.deepEqual(await meta.read.blobs.repositoriesLinking(digest, null, 10), [repository, 'org/second']);
  });
});
