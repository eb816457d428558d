import type { BlobStore, UploadId } from '../blobs/blob-store.ts';
import { ownPlace } from '../blobs/own-place.ts';
import type { MetaStore, MetaTransaction } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';
import type { Fence } from './fence.ts';

/**
 * So long after its end an upload is withdrawn once more, in milliseconds: whoever ended it may have died before it did
 * that, and a request that had lost the upload may have written a last time. No request to a store takes so long.
 */
const lastWordsMillis = 60 * 60 * 1000;
const withdrawalsAtOnceMax = 16;
/** In one run: then the store is away, and the rest can wait. */
const failuresMax = 16;

export interface EndedUploadsDeps {
  readonly meta: MetaStore;
  readonly blobs: Pick<BlobStore, 'withdraw'>;
  readonly clock: Clock;
}

/**
 * Takes an upload's row away, for one that becomes no blob; who asked withdraws it. False when it was gone, or (with
 * `token`) held by somebody else. Where bytes stand at a place of the upload's own nothing else leads to them, so that its
 * end is noted; elsewhere they are staged, and swept.
 */
export function endUpload(
  { blobs }: { readonly blobs: Pick<BlobStore, 'locate'> },
  tx: MetaTransaction,
  upload: { readonly id: UploadId; readonly token: string | null; readonly at: number },
): Promise<boolean> {
  const { id, token, at } = upload;
  return ownPlace(blobs, id) === null ? tx.uploads.delete(id, token) : tx.uploads.end(id, token, at);
}

/**
 * Takes away whatever is still there of at most `limit` uploads that ended a while ago; resolves with how many it saw to.
 * One that cannot be withdrawn now waits as long again, so that it is in nobody's way, and is thrown after the others.
 */
export async function withdrawEnded(
  deps: EndedUploadsDeps,
  request: { readonly limit: number; readonly signal: AbortSignal; readonly fence: Fence },
): Promise<number> {
  const { limit, signal, fence } = request;
  const ended = await deps.meta.read.uploads.ended(deps.clock.now() - lastWordsMillis, limit);
  if (ended.length === 0) return 0;
  const next = ended.values();
  const withdrawn: UploadId[] = [];
  const failed = new Map<UploadId, unknown>();
  const lane = async (): Promise<void> => {
    for (const id of next) {
      try {
        await deps.blobs.withdraw(id);
        withdrawn.push(id);
      } catch (error) {
        failed.set(id, error);
      }
      if (signal.aborted || failed.size >= failuresMax) return;
    }
  };
  await Promise.all(Array.from({ length: withdrawalsAtOnceMax }, lane));
  await deps.meta.transaction(
    async (tx) => {
      await fence(tx);
      await tx.uploads.forgetEnded(withdrawn);
      for (const id of failed.keys()) await tx.uploads.noteEnded(id, deps.clock.now());
    },
    { durable: false },
  );
  for (const error of failed.values()) throw error;
  return withdrawn.length;
}
