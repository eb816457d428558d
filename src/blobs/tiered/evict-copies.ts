import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metrics } from '../../telemetry/telemetry.ts';
import type { BlobStore, StoredBlob, Upkeep } from '../blob-store.ts';
import type { HotFiles } from './hot-files.ts';

const INTERVAL_SECONDS = 30;
const PAGE_MAX = 1000;
/** When there is too much, so much is left, that not every copy pushes out another. */
const LEFT_SHARE = 0.9;
/** How exactly the order of last uses is kept. */
const BUCKET_MILLISECONDS = 60_000;
/** Half-made copies, and notices of them, that nothing has been written to for so long are of processes that died. */
const DEAD_MILLISECONDS = 60 * 60_000;

interface EvictDeps {
  readonly hot: HotFiles;
  readonly metrics: Pick<Metrics, 'tier' | 'tierCopies'>;
  readonly bytesMax: number;
  readonly ageSecondsMax: number;
  /** So much is left free on the device: copies make room for what waits and for uploads. */
  readonly reserveBytes: number;
}

/**
 * Keeps the copies within their size and age, the least recently used first. Only what stands in `copies` can go, and the cold
 * tier has all of that. Reads through what is there twice instead of keeping it in memory: once to learn how much was used
 * when, once to remove.
 */
export class CopyEvictor implements Upkeep {
  readonly name = 'evict-copies';
  readonly intervalSeconds = INTERVAL_SECONDS;
  readonly atEnd = false;
  readonly #deps: EvictDeps;

  constructor(deps: EvictDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<Readonly<Record<string, number>> | null> {
    const { metrics, ageSecondsMax } = this.#deps;
    const bytesByBucket = new Map<number, number>();
    let copies = 0;
    let copiesBytes = 0;
    for await (const { modifiedAt, sizeBytes } of this.#copies(signal)) {
      const bucket = bucketOf(modifiedAt);
      bytesByBucket.set(bucket, (bytesByBucket.get(bucket) ?? 0) + sizeBytes);
      copies += 1;
      copiesBytes += sizeBytes;
    }
    const excess = await this.#excess(copiesBytes);
    const tooOld = Date.now() - ageSecondsMax * 1000;
    const upTo = lastBucketOf(bytesByBucket, excess);
    let evicted = 0;
    let evictedBytes = 0;
    for await (const { location, modifiedAt, sizeBytes } of this.#copies(signal)) {
      const isExcess = evictedBytes < excess && bucketOf(modifiedAt) <= upTo;
      if (!isExcess && modifiedAt >= tooOld) continue;
      await this.#deps.hot.copies.delete(location);
      evicted += 1;
      evictedBytes += sizeBytes;
      metrics.tier('evicted');
    }
    metrics.tierCopies(copies - evicted, copiesBytes - evictedBytes);
    await this.#removeDead(signal);
    return evicted === 0 ? null : { evicted, evictedBytes };
  }

  /** How many bytes have to go. */
  async #excess(copiesBytes: number): Promise<number> {
    const { hot, bytesMax, reserveBytes } = this.#deps;
    const free = (await hot.copies.space?.())?.freeBytes ?? Number.POSITIVE_INFINITY;
    const overSize = copiesBytes > bytesMax ? copiesBytes - bytesMax * LEFT_SHARE : 0;
    const overDevice = free < reserveBytes ? reserveBytes - free : 0;
    return Math.max(overSize, overDevice);
  }

  async *#copies(signal: AbortSignal): AsyncGenerator<StoredBlob, void, void> {
    let cursor: string | null = null;
    do {
      signal.throwIfAborted();
      const page: Awaited<ReturnType<BlobStore['list']>> = await this.#deps.hot.copies.list(cursor, PAGE_MAX);
      yield* page.entries;
      cursor = page.cursor;
    } while (cursor !== null);
  }

  async #removeDead(signal: AbortSignal): Promise<void> {
    const { hot } = this.#deps;
    const before = Date.now() - DEAD_MILLISECONDS;
    let cursor: string | null = null;
    do {
      signal.throwIfAborted();
      const page: Awaited<ReturnType<BlobStore['listStaged']>> = await hot.copies.listStaged(
        cursor,
        PAGE_MAX,
      );
      for (const { uploadId, modifiedAt } of page.entries) {
        if (modifiedAt < before) await hot.copies.discard(uploadId);
      }
      cursor = page.cursor;
    } while (cursor !== null);
    const notices = join(hot.root, 'fills');
    for (const name of await readdir(notices)) {
      const stats = await stat(join(notices, name)).catch(() => null);
      if (stats !== null && stats.mtimeMs < before) await unlink(join(notices, name)).catch(() => undefined);
    }
  }
}

function bucketOf(at: number): number {
  return Math.floor(at / BUCKET_MILLISECONDS);
}

/** The last of the oldest buckets that together hold `excess` bytes. */
function lastBucketOf(bytesByBucket: ReadonlyMap<number, number>, excess: number): number {
  let bytes = 0;
  let last = Number.NEGATIVE_INFINITY;
  if (excess <= 0) return last;
  for (const [bucket, bucketBytes] of [...bytesByBucket].sort(([a], [b]) => a - b)) {
    last = bucket;
    bytes += bucketBytes;
    if (bytes >= excess) break;
  }
  return last;
}
