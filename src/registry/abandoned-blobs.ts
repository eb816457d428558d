import type { BlobStore } from '../blobs/blob-store.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';

/** No commit takes so long between its claim and its end, whatever grace period is configured. In seconds. */
const commitSecondsMax = 60 * 60;

export interface AbandonedBlobsDeps {
  readonly meta: MetaStore;
  readonly blobs: Pick<BlobStore, 'delete'>;
  readonly clock: Clock;
  readonly graceSeconds: number;
}

/**
 * Removes at most `limit` blobs that a request claimed and never finished, as a crash between its steps leaves them: no
 * repository links them. Returns how many. The mark is durable before bytes go, so that whoever pushes the same digest
 * meanwhile waits and places its own; a crash in here leaves marked rows, which the next run takes up.
 */
export async function removeAbandonedBlobs(deps: AbandonedBlobsDeps, limit: number): Promise<number> {
  const before = deps.clock.now() - Math.max(deps.graceSeconds, commitSecondsMax) * 1000;
  const abandoned = await deps.meta.transaction((tx) => tx.blobs.abandon(before, limit));
  for (const { digest, location } of abandoned) {
    await deps.blobs.delete(location);
    await deps.meta.transaction((tx) => tx.blobs.forget(digest), { durable: false });
  }
  return abandoned.length;
}
