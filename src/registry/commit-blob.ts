import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobLocation, BlobStore, UploadId } from '../blobs/blob-store.ts';
import { blobPushed } from '../events/events.ts';
import type { MetaStore, MetaTransaction } from '../meta/meta-store.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Clock } from '../std/clock.ts';
import { Unavailable } from '../std/unavailable.ts';
import { endUpload } from './ended-uploads.ts';

/** How long a commit waits for garbage collection to finish with the same digest, in milliseconds. */
const deletingWaitMillisMax = 2000;
const deletingPollMillis = 50;

export interface CommitDeps {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly graceSeconds: number;
  /** Names this run of the program. */
  readonly runId: string;
}

export interface CommittedBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

export interface Commit extends CommittedBlob {
  readonly uploadId: UploadId;
  readonly leaseToken: string;
  readonly repository: RepositoryName;
  readonly principal: string;
}

/**
 * Makes verified staged bytes a blob that the repository serves. The order is what keeps a 201 true: claim the digest,
 * so that garbage collection keeps away; bytes durable in the blob store; then one durable transaction. A crash in
 * between leaves a claimed row, whose review removes the bytes again.
 */
export async function commitBlob(deps: CommitDeps, commit: Commit): Promise<CommittedBlob> {
  const { uploadId, digest, sizeBytes } = commit;
  const own = deps.blobs.locate(uploadId, digest);
  const { present, isOwnLeft } = await claim(deps, commit, own);
  const isHere = present === null || deps.blobs.owns(present);
  const isLeaving = present !== null && (!isHere || (deps.blobs.leaves?.(present) ?? false));
  // Where old bytes wait for their removal none may come: the removal would take them, too.
  const isLeft = isLeaving && !isOwnLeft;
  const elsewhere =
    present === null || present === own || isLeft || !isHere ? null : await deps.blobs.stat(present);
  // Where another upload brought the bytes to a place of its own, they stay there: nobody's reading is disturbed. But
  // where they are to leave from, or in a store that is not configured, these save a copy, and heal what is damaged.
  const isKept = elsewhere !== null && elsewhere.sizeBytes === sizeBytes;
  if (isOwnLeft && !isKept) throw beingCollected();
  if (!isKept && (await deps.blobs.commit(uploadId, digest, sizeBytes)) === null) {
    throw new RegistryError('BLOB_UPLOAD_UNKNOWN');
  }
  const location = isKept ? elsewhere.location : own;
  const torn = isKept ? null : (elsewhere?.uploadId ?? null);
  const step = { commit, own, location, present, torn, left: isLeft ? present : null };
  const standing = await deps.meta.transaction((tx) => place(deps, { ...step, tx }), { concurrent: true });
  // It is pushed, whatever becomes of the bytes that are not needed: what stays of them is withdrawn later.
  if (standing !== own) await deps.blobs.withdraw(uploadId).catch(() => {});
  return { digest, sizeBytes };
}

interface Claim {
  /** Where the blob is already, `null` where it is not. */
  readonly present: BlobLocation | null;
  /** It is elsewhere, and old bytes of it at the place that it is to have wait for their removal. */
  readonly isOwnLeft: boolean;
}

async function claim(deps: CommitDeps, commit: Commit, location: BlobLocation): Promise<Claim> {
  const deadline = performance.now() + deletingWaitMillisMax;
  for (;;) {
    const answer = await deps.meta.transaction(
      async (tx) => {
        const now = deps.clock.now();
        const closing = { ...commit, hashedInRun: deps.runId };
        // Where the bytes stay at the upload's own place, no other bytes may come there any more.
        if (!(await tx.uploads.close(commit.uploadId, commit.leaseToken, closing))) throw takenAway();
        const claimed = await tx.blobs.claim({ ...commit, location }, now);
        if (claimed !== 'deleting') {
          await tx.queues.review(
            {
              kind: 'blob',
              repositoryId: null,
              digest: commit.digest,
              reason: 'upload_committed',
              dueAt: now + deps.graceSeconds * 1000,
            },
            now,
          );
        }
        if (claimed === 'deleting') return claimed;
        const isElsewhere = claimed.present !== null && claimed.present !== location;
        return { ...claimed, isOwnLeft: isElsewhere && (await tx.blobs.isLeftBehind(location)) };
      },
      { durable: false, concurrent: true },
    );
    if (answer !== 'deleting') return answer;
    if (performance.now() > deadline) throw beingCollected();
    await sleep(deletingPollMillis);
  }
}

async function place(
  deps: CommitDeps,
  step: {
    readonly tx: MetaTransaction;
    readonly commit: Commit;
    readonly own: BlobLocation;
    readonly location: BlobLocation;
    /** Where the ledger says that the blob is, and the upload whose bytes there are none of it. */
    readonly present: BlobLocation | null;
    readonly torn: UploadId | null;
    /** Where the blob was until now, in a store that it leaves. */
    readonly left: BlobLocation | null;
  },
): Promise<BlobLocation> {
  const { tx, commit, own, location } = step;
  const now = deps.clock.now();
  const repository = await tx.repositories.ensure(commit.repository, commit.principal, now);
  const standing = await tx.blobs.place({ ...commit, location }, step.present, now);
  if (standing === null) throw beingCollected();
  await tx.blobs.link(repository.id, commit.digest, commit.principal, now);
  const { uploadId, leaseToken } = commit;
  const ended =
    standing === own
      ? tx.uploads.delete(uploadId, leaseToken)
      : endUpload(deps, tx, { id: uploadId, token: leaseToken, at: now });
  if (!(await ended)) throw takenAway();
  if (standing === own && step.left !== null) await tx.blobs.leaveBehind(commit.digest, step.left, now);
  if (standing === own && step.torn !== null) await tx.uploads.noteEnded(step.torn, now);
  await tx.queues.review(
    {
      kind: 'link',
      repositoryId: repository.id,
      digest: commit.digest,
      reason: 'upload_committed',
      dueAt: now + deps.graceSeconds * 1000,
    },
    now,
  );
  await blobPushed({ tx, repository: commit.repository, principal: commit.principal, at: now }, commit);
  return standing;
}

/** Cancelled or taken over meanwhile: that request decides. */
function takenAway(): RegistryError {
  return new RegistryError('BLOB_UPLOAD_UNKNOWN');
}

function beingCollected(): Unavailable {
  return new Unavailable('blob store', 'this blob is being removed at this moment: send it again', {
    retryable: true,
  });
}
