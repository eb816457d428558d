import { randomBytes } from 'node:crypto';
import type { BlobStore } from '../blobs/blob-store.ts';
import type { MetaStore, Upload } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';
import { endUpload } from './ended-uploads.ts';
import type { Fence } from './fence.ts';

/** How long the expiry of one upload may hold it, in milliseconds. */
const leaseMillis = 10_000;
const stagedPageMax = 500;

export interface UploadCleaningDeps {
  readonly meta: MetaStore;
  readonly blobs: Pick<BlobStore, 'discard' | 'withdraw' | 'locate' | 'listStaged'>;
  readonly clock: Clock;
}

/** Drops at most `limit` uploads that nobody has touched until their expiry. Returns how many it dropped. */
export async function expireUploads(
  deps: UploadCleaningDeps,
  request: { readonly limit: number; readonly fence: Fence },
): Promise<number> {
  const { limit, fence } = request;
  const token = randomBytes(16).toString('hex');
  let dropped = 0;
  for (const upload of await deps.meta.read.uploads.expired(deps.clock.now(), limit)) {
    if (await takeAndDelete(deps, upload, { token, fence })) {
      await deps.blobs.withdraw(upload.id);
      dropped += 1;
    }
  }
  return dropped;
}

/** In one transaction: a client may have come back since the list was read. */
async function takeAndDelete(
  deps: UploadCleaningDeps,
  upload: Upload,
  { token, fence }: { readonly token: string; readonly fence: Fence },
): Promise<boolean> {
  return deps.meta.transaction(
    async (tx) => {
      await fence(tx);
      const now = deps.clock.now();
      const current = await tx.uploads.find(upload.id);
      if (current === null || current.expiresAt > now) return false;
      const taken = await tx.uploads.acquire(upload.id, token, leaseMillis);
      if (taken === null || taken === 'busy') return false;
      return endUpload(deps, tx, { id: upload.id, token, at: now });
    },
    { durable: false },
  );
}

/**
 * Removes staged bytes that have no upload: their row went first, and a crash kept them from following. Younger ones than
 * the grace period are left alone: a request that lost its upload may still be writing.
 */
export async function sweepStaged(deps: UploadCleaningDeps, graceSeconds: number): Promise<number> {
  let removed = 0;
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<BlobStore['listStaged']>> = await deps.blobs.listStaged(
      cursor,
      stagedPageMax,
    );
    const before = deps.clock.now() - graceSeconds * 1000;
    const old = page.entries.filter((entry) => entry.modifiedAt < before).map((entry) => entry.uploadId);
    const known = await deps.meta.read.uploads.known(old);
    for (const id of old) {
      if (known.has(id)) continue;
      await deps.blobs.discard(id);
      removed += 1;
    }
    cursor = page.cursor;
  } while (cursor !== null);
  return removed;
}
