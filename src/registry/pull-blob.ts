import type { BlobBody, BlobStore, ByteRange } from '../blobs/blob-store.ts';
import { once, readWhole } from '../blobs/body-bytes.ts';
import type { LinkedBlob, MetaStore } from '../meta/meta-store.ts';
import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { ByteCache } from '../std/byte-cache.ts';
import type { Clock } from '../std/clock.ts';
import { Unavailable } from '../std/unavailable.ts';

/** A promise is renewed when this part of the grace period has gone by: seldom enough to be cheap. */
const touchAgeShare = 1 / 4;

/** Blobs up to this size (configurations, signatures, small layers) are read at once and kept in memory, in bytes. */
const smallBlobBytesMax = 64 * 1024;

export interface PullBlobDeps {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  /** By digest. Who may have them is decided before this is asked. */
  readonly smallBlobs: ByteCache;
  readonly clock: Clock;
  readonly graceSeconds: number;
}

/** A blob exists only for those who ask through a repository that links it. */
export async function findBlob(
  deps: Pick<PullBlobDeps, 'meta'>,
  repository: RepositoryName,
  digest: Digest,
): Promise<LinkedBlob> {
  const blob = await deps.meta.read.blobs.findLinked(repository, digest);
  if (blob === null) throw new RegistryError('BLOB_UNKNOWN', null, { detail: { digest } });
  return blob;
}

/**
 * A pusher who hears that a blob is here will not send it, so garbage collection must leave it alone for a while: the
 * touch moves its grace period.
 */
export async function promiseBlob(
  deps: PullBlobDeps,
  repository: RepositoryName,
  digest: Digest,
): Promise<LinkedBlob> {
  const blob = await findBlob(deps, repository, digest);
  const now = deps.clock.now();
  if (now - blob.touchedAt < deps.graceSeconds * 1000 * touchAgeShare) return blob;
  const options = { durable: false, concurrent: true };
  const touched = await deps.meta.transaction((tx) => tx.blobs.touch(digest, now), options);
  if (!touched) throw new RegistryError('BLOB_UNKNOWN', null, { detail: { digest } });
  return blob;
}

/** `source` is asked for its signal only where there is something to wait for. */
export async function openBlob(
  deps: Pick<PullBlobDeps, 'meta' | 'blobs' | 'smallBlobs'>,
  blob: LinkedBlob,
  range: ByteRange | null,
  source: { readonly signal: AbortSignal },
): Promise<BlobBody> {
  if (blob.sizeBytes > smallBlobBytesMax) return await openStored(deps, blob, range, source.signal);
  const known = deps.smallBlobs.get(blob.digest);
  if (known !== null) return memoryBody(known, range);
  const bytes = await readWhole(await openStored(deps, blob, null, source.signal));
  // What is torn in the store must not stay torn here after it was healed there.
  if (digestOf(digestAlgorithm(blob.digest), bytes) === blob.digest) deps.smallBlobs.put(blob.digest, bytes);
  return memoryBody(bytes, range);
}

async function openStored(
  deps: Pick<PullBlobDeps, 'meta' | 'blobs'>,
  blob: LinkedBlob,
  range: ByteRange | null,
  signal: AbortSignal,
): Promise<BlobBody> {
  const body =
    (await deps.blobs.open(blob.location, range, signal, blob.digest)) ??
    (await openMoved(deps, blob, range, signal));
  if (body === null) throw damaged(blob, 'its bytes are missing');
  if (body.sizeBytes === blob.sizeBytes) return body;
  await body.close();
  throw damaged(blob, `it has ${body.sizeBytes} bytes instead of ${blob.sizeBytes}`);
}

/** The bytes may have moved to another place since the ledger was asked. */
async function openMoved(
  deps: Pick<PullBlobDeps, 'meta' | 'blobs'>,
  blob: LinkedBlob,
  range: ByteRange | null,
  signal: AbortSignal,
): Promise<BlobBody | null> {
  const row = await deps.meta.read.blobs.find(blob.digest);
  if (row === null || row.state !== 'present' || row.location === blob.location) return null;
  return deps.blobs.open(row.location, range, signal, row.digest);
}

function memoryBody(whole: Uint8Array, range: ByteRange | null): BlobBody {
  const bytes = range === null ? whole : whole.subarray(range.start, range.end + 1);
  return { sizeBytes: whole.byteLength, bytes, chunks: once(bytes), close: async () => {} };
}

function damaged(blob: LinkedBlob, problem: string): Unavailable {
  return new Unavailable('blob store', `blob ${blob.digest} is damaged: ${problem}; run "drift fsck"`, {
    retryable: false,
  });
}
