import type { BlobBody, BlobStore, ByteRange } from '../blobs/blob-store.ts';
import type { LinkedBlob, MetaStore } from '../meta/meta-store.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Clock } from '../std/clock.ts';
import { Unavailable } from '../std/unavailable.ts';

/** A promise is renewed when this part of the grace period has gone by: seldom enough to be cheap. */
const touchAgeShare = 1 / 4;

export interface PullBlobDeps {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
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
  const touched = await deps.meta.transaction((tx) => tx.blobs.touch(digest, now), { durable: false });
  if (!touched) throw new RegistryError('BLOB_UNKNOWN', null, { detail: { digest } });
  return blob;
}

export async function openBlob(
  deps: Pick<PullBlobDeps, 'blobs'>,
  blob: LinkedBlob,
  request: { readonly range: ByteRange | null; readonly signal: AbortSignal },
): Promise<BlobBody> {
  const body = await deps.blobs.open(blob.location, request.range, request.signal);
  if (body === null) throw damaged(blob, 'its bytes are missing');
  if (body.sizeBytes === blob.sizeBytes) return body;
  await body.close();
  throw damaged(blob, `it has ${body.sizeBytes} bytes instead of ${blob.sizeBytes}`);
}

function damaged(blob: LinkedBlob, problem: string): Unavailable {
  return new Unavailable('blob store', `blob ${blob.digest} is damaged: ${problem}; run "drift fsck"`, {
    retryable: false,
  });
}
