import type { BlobStore } from '../blobs/blob-store.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';
import type { Fence } from './fence.ts';

/** No commit takes so long between its claim and its end, whatever grace period is configured. In seconds. */
const commitSecondsMax = 60 * 60;
/** How long one run removes what it marked, and after which time another may: a run that stalls comes to an end between. */
const removeMillisMax = 60_000;
const takeOverMillis = 10 * removeMillisMax;

export interface AbandonedBlobsDeps {
  readonly meta: MetaStore;
  readonly blobs: Pick<BlobStore, 'delete' | 'owns'>;
  readonly clock: Clock;
  readonly graceSeconds: number;
}

/**
 * Removes at most `limit` blobs that a request claimed and never finished, as a crash between its steps leaves them: no
 * repository links them. Returns how many. The mark is durable before bytes go, so that whoever pushes the same digest
 * meanwhile waits and places its own. What this run does not come to, or a crash in here leaves, a later run takes up.
 *
 * A run that stood still and wakes after another took its place writes nothing into the ledger (the fence). The one object
 * whose removal was under way may go late: where each upload has a place of its own nobody else's bytes can be there, and
 * where the place follows from the digest (one machine's file system) whoever would take over stands still with it.
 */
export async function removeAbandonedBlobs(
  deps: AbandonedBlobsDeps,
  request: { readonly limit: number; readonly signal: AbortSignal; readonly fence: Fence },
): Promise<number> {
  const { limit, signal, fence } = request;
  const at = deps.clock.now();
  const deadline = performance.now() + removeMillisMax;
  const claimedBefore = at - Math.max(deps.graceSeconds, commitSecondsMax) * 1000;
  const query = { claimedBefore, markedBefore: at - takeOverMillis, at, limit };
  const abandoned = await deps.meta.transaction(async (tx) => {
    await fence(tx);
    return tx.blobs.abandon(query);
  });
  let removed = 0;
  for (const { digest, location } of abandoned) {
    // Later the bytes may be those of somebody who pushed the digest after another run had forgotten it.
    if (signal.aborted || performance.now() > deadline) break;
    // What is in a store that is not configured any more nobody can remove from here.
    if (deps.blobs.owns(location)) await deps.blobs.delete(location);
    await deps.meta.transaction(
      async (tx) => {
        await fence(tx);
        await tx.blobs.forget(digest);
      },
      { durable: false },
    );
    removed += 1;
  }
  return removed;
}
