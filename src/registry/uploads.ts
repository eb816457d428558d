import type { BlobStore, UploadId } from '../blobs/blob-store.ts';
import { ownPlace } from '../blobs/own-place.ts';
import { newUploadId } from '../blobs/upload-id.ts';
import type { MetaStore, MetaTransaction, Upload } from '../meta/meta-store.ts';
import { type Digest, type DigestAlgorithm, digestAlgorithm } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Clock } from '../std/clock.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import { type CommittedBlob, commitBlob } from './commit-blob.ts';
import { endUpload } from './ended-uploads.ts';
import { type Incoming, type Receipt, type ReceiveDeps, receive, stagedDigest, toError } from './receive.ts';
import { restagePlaced } from './restage-placed.ts';
import type { RunningDigests } from './running-digests.ts';
import type { SpaceReserve } from './space-reserve.ts';
import type { UploadLease, UploadLeases } from './upload-leases.ts';

/** Of rows of one upload, each changed by one statement; progress need not survive power loss. */
const LIGHT = { durable: false, concurrent: true };
/** Uploads that may be begun at the same moment without seeing each other: nearer to the limit they are counted one by one. */
const racingMax = 1000;
/** Of all open uploads, what one principal may hold: a client gone wild leaves room for the others. */
const principalShareMax = 0.9;

export interface UploadDeps extends ReceiveDeps {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, 'uploadStarted' | 'uploadEnded'>;
  readonly leases: UploadLeases;
  readonly running: RunningDigests;
  readonly space: SpaceReserve;
  /** Names this run of the program: what an earlier run hashed is read again. */
  readonly runId: string;
  readonly blobBytesMax: number;
  readonly uploadsOpenMax: number;
  /** Seconds until the review queue looks at what was committed. */
  readonly graceSeconds: number;
}

/** Whose upload: an upload is bound to its repository and its principal (distribution-spec has no such rule; Quay had to). */
export interface UploadKey {
  readonly id: UploadId;
  readonly repository: RepositoryName;
  readonly principal: string;
}

interface FinishRequest {
  readonly digest: Digest;
  readonly incoming: Incoming;
}

export interface UploadProgress {
  readonly id: UploadId;
  readonly offsetBytes: number;
}

export async function startUpload(
  deps: UploadDeps,
  request: {
    readonly repository: RepositoryName;
    readonly principal: string;
    readonly algorithm: DigestAlgorithm;
  },
): Promise<UploadProgress> {
  await deps.space.require(0);
  const id = newUploadId();
  const now = deps.clock.now();
  // Nothing but the row leads to bytes at an upload's own place.
  const durable = ownPlace(deps.blobs, id) !== null;
  await deps.meta.transaction(
    async (tx) => {
      await requireRoom(deps, tx, request.principal);
      await tx.uploads.insert({
        id,
        ...request,
        offsetBytes: 0,
        digestSoFar: null,
        hashedInRun: null,
        closingAs: null,
        startedAt: now,
        expiresAt: deps.leases.expiresAt(),
      });
    },
    { ...LIGHT, durable },
  );
  return { id, offsetBytes: 0 };
}

async function requireRoom(deps: UploadDeps, tx: MetaTransaction, principal: string): Promise<void> {
  const share = Math.ceil(deps.uploadsOpenMax * principalShareMax);
  if ((await tx.uploads.count()) + racingMax < share) return;
  const open = await tx.uploads.countAlone();
  const full =
    open >= deps.uploadsOpenMax || (open >= share && (await tx.uploads.countOf(principal)) >= share);
  if (!full) return;
  throw new RegistryError('TOOMANYREQUESTS', 'too many uploads are open: finish or cancel some first', {
    retryAfterSeconds: 30,
  });
}

export async function uploadStatus(deps: UploadDeps, key: UploadKey): Promise<UploadProgress> {
  const upload = await findOwn(deps, key);
  if (upload.closingAs !== null) return { id: key.id, offsetBytes: upload.offsetBytes };
  const staged = await deps.blobs.staged(key.id);
  return { id: key.id, offsetBytes: Math.min(upload.offsetBytes, staged?.sizeBytes ?? 0) };
}

export async function appendToUpload(
  deps: UploadDeps,
  key: UploadKey,
  incoming: Incoming,
): Promise<UploadProgress> {
  await findOwn(deps, key);
  return deps.leases.hold(key.id, incoming.signal, async (lease) => {
    if (lease.upload.closingAs !== null) await refuseMore(deps, lease, lease.upload.closingAs);
    const receipt = await receiveOrGiveUp(deps, lease, incoming);
    await release(deps, lease, receipt);
    return { id: key.id, offsetBytes: receipt.offsetBytes };
  });
}

/** Takes the last bytes (if any come), compares the digest and makes the upload a blob of the repository. */
export async function finishUpload(
  deps: UploadDeps,
  key: UploadKey,
  request: FinishRequest,
): Promise<CommittedBlob> {
  await findOwn(deps, key);
  return deps.leases.hold(key.id, request.incoming.signal, async (lease) => {
    const received = await receiveRest(deps, lease, request);
    let receipt = received;
    try {
      const actual = await digestOfUpload(deps, lease, { ...request, receipt });
      if (actual !== request.digest) {
        // Staged bytes that are gone, or were right once, are not the client's mistake: it starts again.
        const { offsetBytes, closingAs } = lease.upload;
        if (receipt.offsetBytes < offsetBytes || closingAs !== null)
          throw new RegistryError('BLOB_UPLOAD_UNKNOWN');
        throw wrongDigest(request.digest, actual);
      }
      receipt = { ...received, verified: actual };
      const { repository, principal } = lease.upload;
      const owner = { uploadId: key.id, leaseToken: lease.token, repository, principal };
      const committed = await commitBlob(deps, { ...owner, digest: actual, sizeBytes: receipt.offsetBytes });
      deps.running.forget(key.id);
      return committed;
    } catch (error) {
      await giveUp(deps, lease, { ...receipt, error: toError(error) });
      throw error;
    }
  });
}

/**
 * What this request brings; nothing, when an earlier one brought it all and failed only then: bytes that it placed are
 * staged again.
 */
async function receiveRest(deps: UploadDeps, lease: UploadLease, request: FinishRequest): Promise<Receipt> {
  const { digest, incoming } = request;
  const { offsetBytes, closingAs } = lease.upload;
  if (closingAs === null) return receiveOrGiveUp(deps, lease, incoming);
  const asBefore: Receipt = { offsetBytes, running: null, verified: null, error: null };
  try {
    if (closingAs !== digest) throw wrongDigest(digest, closingAs);
    const signal = AbortSignal.any([incoming.signal, lease.signal]);
    if (await restagePlaced(deps, lease.upload, { digest, signal, lost: lease.lost }))
      return { ...asBefore, verified: digest };
    const staged = await deps.blobs.staged(lease.upload.id);
    if (staged !== null && staged.sizeBytes >= offsetBytes) return asBefore;
  } catch (error) {
    await giveUp(deps, lease, { ...asBefore, error: toError(error) });
    throw error;
  }
  // They were lost on the way to the device: the same ones have to come again.
  return receiveOrGiveUp(deps, lease, incoming);
}

/** The bytes that a closing request has verified stay what they are. */
async function refuseMore(deps: UploadDeps, lease: UploadLease, closingAs: Digest): Promise<never> {
  const message = `the upload is being closed as ${closingAs}: repeat that request, or cancel the upload`;
  const error = new RegistryError('BLOB_UPLOAD_INVALID', message);
  const { offsetBytes } = lease.upload;
  await giveUp(deps, lease, { offsetBytes, running: null, verified: null, error });
  throw error;
}

/**
 * One request with everything in it (`POST ?digest=`): an upload that counts as open, like any other, while it lasts. Its
 * client has no address to go on at, so that nothing stays of it when it fails.
 */
export async function pushWholeBlob(
  deps: UploadDeps,
  request: {
    readonly repository: RepositoryName;
    readonly principal: string;
    readonly digest: Digest;
    readonly incoming: Incoming;
  },
): Promise<CommittedBlob> {
  const { repository, principal, digest } = request;
  const { id } = await startUpload(deps, { repository, principal, algorithm: digestAlgorithm(digest) });
  try {
    return await finishUpload(deps, { id, repository, principal }, request);
  } catch (error) {
    // What cannot be ended now expires.
    await end(deps, id, null).catch(() => {});
    throw error;
  }
}

export async function cancelUpload(deps: UploadDeps, key: UploadKey, signal: AbortSignal): Promise<void> {
  await findOwn(deps, key);
  await deps.leases.hold(key.id, signal, (lease) => end(deps, lease.upload.id, lease.token));
}

async function findOwn(deps: UploadDeps, key: UploadKey): Promise<Upload> {
  const upload = await deps.meta.read.uploads.find(key.id);
  if (upload === null || upload.repository !== key.repository || upload.principal !== key.principal) {
    throw new RegistryError('BLOB_UPLOAD_UNKNOWN');
  }
  return upload;
}

/** Receives; on failure what arrived is noted in the row. */
async function receiveOrGiveUp(deps: UploadDeps, lease: UploadLease, incoming: Incoming): Promise<Receipt> {
  const signal = AbortSignal.any([incoming.signal, lease.signal]);
  const receipt = await receive(deps, {
    upload: lease.upload,
    incoming: { ...incoming, signal },
    lost: lease.lost,
  });
  if (receipt.error === null) return receipt;
  await giveUp(deps, lease, receipt);
  throw receipt.error;
}

/** A failed request lets the upload go, or drops it when it can never succeed. */
async function giveUp(deps: UploadDeps, lease: UploadLease, receipt: Receipt): Promise<void> {
  const code = receipt.error instanceof RegistryError ? receipt.error.code : null;
  const hopeless = code === 'BLOB_TOO_LARGE' || code === 'DIGEST_INVALID' || code === 'BLOB_UPLOAD_UNKNOWN';
  if (hopeless) await end(deps, lease.upload.id, lease.token);
  else await release(deps, lease, receipt);
}

async function digestOfUpload(
  deps: UploadDeps,
  lease: UploadLease,
  request: { readonly digest: Digest; readonly incoming: Incoming; readonly receipt: Receipt },
): Promise<Digest> {
  const { receipt } = request;
  if (receipt.verified === request.digest) return receipt.verified;
  const algorithm = digestAlgorithm(request.digest);
  if (receipt.running !== null && receipt.running.algorithm === algorithm) return receipt.running.digest();
  const { upload } = lease;
  const hashed =
    upload.hashedInRun === deps.runId &&
    upload.algorithm === algorithm &&
    upload.offsetBytes === receipt.offsetBytes;
  if (hashed && upload.digestSoFar !== null) return upload.digestSoFar;
  const signal = AbortSignal.any([request.incoming.signal, lease.signal]);
  const digest = await stagedDigest(deps, {
    id: upload.id,
    algorithm,
    sizeBytes: receipt.offsetBytes,
    signal,
  });
  if (digest === null) throw new RegistryError('BLOB_UPLOAD_UNKNOWN');
  return digest;
}

async function release(deps: UploadDeps, lease: UploadLease, receipt: Receipt): Promise<void> {
  const { upload } = lease;
  const unchanged = receipt.offsetBytes === upload.offsetBytes;
  const digestNow = receipt.verified ?? receipt.running?.digest() ?? null;
  if (receipt.running !== null) deps.running.keep(upload.id, receipt.running);
  const held = await deps.meta.transaction(
    (tx) =>
      tx.uploads.release(upload.id, lease.token, {
        offsetBytes: receipt.offsetBytes,
        digestSoFar: digestNow ?? (unchanged ? upload.digestSoFar : null),
        hashedInRun: digestNow !== null ? deps.runId : unchanged ? upload.hashedInRun : null,
        expiresAt: deps.leases.expiresAt(),
      }),
    LIGHT,
  );
  if (!held) deps.running.forget(upload.id);
  if (!held && receipt.error === null) throw new RegistryError('UPLOAD_BUSY');
}

/** It becomes no blob. With a token: unless another request holds it by now. */
async function end(deps: UploadDeps, id: UploadId, token: string | null): Promise<void> {
  deps.running.forget(id);
  const ours = await deps.meta.transaction(
    (tx) => endUpload(deps, tx, { id, token, at: deps.clock.now() }),
    LIGHT,
  );
  if (ours) await deps.blobs.withdraw(id);
}

function wrongDigest(expected: Digest, actual: Digest): RegistryError {
  return new RegistryError('DIGEST_INVALID', 'the uploaded bytes do not have the digest that was given', {
    detail: { expected, actual },
  });
}
