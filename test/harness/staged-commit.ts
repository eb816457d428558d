import type { BlobLocation, BlobStore, UploadId } from '../../src/blobs/blob-store.ts';
import { newUploadId } from '../../src/blobs/upload-id.ts';
import type { MetaStore } from '../../src/meta/meta-store.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/name.ts';
import type { Commit } from '../../src/registry/commit-blob.ts';

interface Stores {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
}

const LEASE = 'lease';
const LEASE_MILLISECONDS = 3_600_000;
const LONG_FROM_NOW = Number.MAX_SAFE_INTEGER;

/** An upload with all its bytes, held by the request that is about to commit it. */
export async function stagedCommit(
  { meta, blobs }: Stores,
  of: { readonly repository: RepositoryName; readonly bytes: Uint8Array },
): Promise<Commit> {
  const { repository, bytes } = of;
  const owner = { repository, principal: 'a' };
  const id = newUploadId();
  await meta.transaction(async (tx) => {
    const empty = { offsetBytes: 0, digestSoFar: null, hashedInRun: null, closingAs: null };
    const times = { startedAt: 1, expiresAt: LONG_FROM_NOW };
    await tx.uploads.insert({ id, ...owner, algorithm: 'sha256', ...empty, ...times });
    await tx.uploads.acquire(id, LEASE, LEASE_MILLISECONDS);
  });
  await stage(blobs, id, bytes);
  const blob = { digest: digestOf('sha256', bytes), sizeBytes: bytes.byteLength };
  return { uploadId: id, leaseToken: LEASE, ...owner, ...blob };
}

/** Puts bytes into the vault under a digest that they need not have, past every rule. Where they stand. */
export async function forceBlob(
  blobs: BlobStore,
  bytes: Uint8Array,
  digest: Commit['digest'],
): Promise<BlobLocation> {
  const id = newUploadId();
  await stage(blobs, id, bytes);
  await blobs.commit(id, digest, bytes.byteLength);
  return blobs.locate(id, digest);
}

async function stage(blobs: BlobStore, id: UploadId, bytes: Uint8Array): Promise<void> {
  const chunks = async function* () {
    yield bytes;
  };
  await blobs.append(id, 0, chunks(), new AbortController().signal);
}
