import type { HotFiles } from './hot-files.ts';
import { listBacklog, totalBytes } from './send-backlog.ts';

/** What waits may be so many blobs at most: each is a name in memory when they are listed. */
const BLOBS_MAX = 100_000;
/** How old a count may be, in milliseconds: other processes add to the backlog, too, and the sender takes from it. */
const COUNT_AGE_MILLISECONDS_MAX = 1_000;

/** Whether there is room for more that only this machine has. */
export class BacklogLimit {
  readonly #hot: HotFiles;
  readonly #bytesMax: number;
  #counted: { readonly blobs: number; readonly bytes: number; readonly at: number } | null = null;
  #addedBlobs = 0;
  #addedBytes = 0;

  constructor(hot: HotFiles, bytesMax: number) {
    this.#hot = hot;
    this.#bytesMax = bytesMax;
  }

  async hasRoom(sizeBytes: number): Promise<boolean> {
    const { blobs, bytes } = await this.#count();
    return blobs + this.#addedBlobs < BLOBS_MAX && bytes + this.#addedBytes + sizeBytes <= this.#bytesMax;
  }

  /** Until the next count. */
  add(sizeBytes: number): void {
    this.#addedBlobs += 1;
    this.#addedBytes += sizeBytes;
  }

  async #count(): Promise<{ readonly blobs: number; readonly bytes: number }> {
    const known = this.#counted;
    if (known !== null && performance.now() - known.at < COUNT_AGE_MILLISECONDS_MAX) return known;
    const files = await listBacklog(this.#hot);
    this.#counted = { blobs: files.length, bytes: totalBytes(files), at: performance.now() };
    [this.#addedBlobs, this.#addedBytes] = [0, 0];
    return this.#counted;
  }
}
