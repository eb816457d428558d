import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../../oci/digest.ts';
import { untilAborted } from '../../std/until-aborted.ts';
import type { BlobBody, BlobLocation, BlobStore, ByteRange, UploadId } from '../blob-store.ts';
import { isAbsent } from '../fs/failures.ts';
import { statOpen } from '../fs/file-operations.ts';
import { type Fill, rottenBlob } from './fill.ts';
import type { HotFiles } from './hot-files.ts';

const READ_BYTES = 512 * 1024;
/** How often a copy that another process makes is looked at while nothing new is there, in milliseconds. */
const POLL_MILLISECONDS = 15;
/** A copy that has not grown for so long is waited for no more. */
const STALLED_MILLISECONDS_MAX = 10_000;

const { O_RDONLY, O_NOFOLLOW } = constants;

export interface Followed {
  readonly uploadId: UploadId;
  readonly sizeBytes: number;
  readonly location: BlobLocation;
  readonly digest: Digest;
  /** Null when another process makes the copy: then the file says what there is to know. */
  readonly fill: Fill | null;
}

interface FollowerParts {
  readonly hot: HotFiles;
  readonly cold: Pick<BlobStore, 'open'>;
  readonly followed: Followed;
  readonly range: ByteRange | null;
  readonly signal: AbortSignal;
}

/** The bytes that can be read, and whether more are to come. */
interface Extent {
  readonly bytes: number;
  readonly state: 'running' | 'whole' | 'failed' | 'rotten';
}

/**
 * Reads a copy while it is made. When the copy comes to nothing (a full disk, a process that died), the rest comes from the
 * cold tier.
 */
export class FillFollower implements BlobBody {
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly #parts: FollowerParts;
  readonly #closing = new AbortController();
  #handle: FileHandle | null = null;
  #cold: BlobBody | null = null;

  constructor(parts: FollowerParts) {
    this.#parts = parts;
    this.sizeBytes = parts.followed.sizeBytes;
    const ended = AbortSignal.any([parts.signal, this.#closing.signal]);
    // What waits for the next byte must hear of an end at once.
    this.chunks = untilAborted(this.#read(ended), ended);
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the body was closed before its end'));
    await this.#free();
  }

  async #free(): Promise<void> {
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close();
    await this.#cold?.close();
  }

  async *#read(ended: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    const { range, followed } = this.#parts;
    const end = range === null ? followed.sizeBytes : range.end + 1;
    let position = range?.start ?? 0;
    try {
      while (position < end) {
        const extent = await this.#extentBeyond(position, ended);
        if (extent.state === 'rotten') throw rottenBlob(followed.digest);
        if (extent.bytes <= position) break;
        const chunk = await this.#readFile(
          position,
          Math.min(READ_BYTES, end - position, extent.bytes - position),
        );
        ended.throwIfAborted();
        if (chunk === null) break;
        position += chunk.byteLength;
        yield chunk;
      }
      ended.throwIfAborted();
      if (position < end) yield* this.#readCold(position, end, ended);
    } finally {
      await this.#free();
    }
  }

  /** Waits until there are bytes at `position`, or never will be. */
  async #extentBeyond(position: number, ended: AbortSignal): Promise<Extent> {
    let seenBytes = -1;
    let grownAt = performance.now();
    for (;;) {
      ended.throwIfAborted();
      const { fill } = this.#parts.followed;
      const changed = fill?.changed();
      const extent = fill === null ? await this.#extentOfFile() : extentOf(fill);
      if (extent.state !== 'running' || extent.bytes > position) return extent;
      if (extent.bytes !== seenBytes) [seenBytes, grownAt] = [extent.bytes, performance.now()];
      if (changed !== undefined) await changed;
      else if (performance.now() - grownAt > STALLED_MILLISECONDS_MAX) return { ...extent, state: 'failed' };
      else await sleep(POLL_MILLISECONDS, undefined, { signal: ended });
    }
  }

  /** The seal is written when the whole was found right, and a file that came to nothing has no name any more. */
  async #extentOfFile(): Promise<Extent> {
    const { sizeBytes } = this.#parts.followed;
    const handle = await this.#open();
    if (handle === null) return { bytes: 0, state: 'failed' };
    const { size, nlink } = statOpen(handle);
    if (size > sizeBytes) return { bytes: sizeBytes, state: 'whole' };
    return { bytes: Math.min(size, sizeBytes - 1), state: nlink === 0 ? 'failed' : 'running' };
  }

  async #readFile(position: number, length: number): Promise<Uint8Array | null> {
    const handle = await this.#open();
    if (handle === null) return null;
    const buffer = Buffer.allocUnsafeSlow(length);
    try {
      const { bytesRead } = await handle.read(buffer, 0, length, position);
      return bytesRead === 0 ? null : buffer.subarray(0, bytesRead);
    } catch {
      return null;
    }
  }

  /** While it comes in, or where it has moved since; null when it is in neither place. */
  async #open(): Promise<FileHandle | null> {
    if (this.#handle !== null) return this.#handle;
    const { hot, followed } = this.#parts;
    for (const path of hot.fillPaths(followed.uploadId, followed.location)) {
      try {
        const handle = await open(path, O_RDONLY | O_NOFOLLOW);
        if (this.#closing.signal.aborted) {
          await handle.close();
          return null;
        }
        this.#handle = handle;
        return handle;
      } catch (error) {
        if (!isAbsent(error)) throw error;
      }
    }
    return null;
  }

  async *#readCold(start: number, end: number, ended: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    const { cold, followed } = this.#parts;
    this.#cold = await cold.open(followed.location, { start, end: end - 1 }, ended);
    if (this.#cold === null) throw rottenBlob(followed.digest);
    yield* this.#cold.chunks;
  }
}

/** The last byte is kept back until the whole is found right: a reader must not take rotten bytes for complete. */
function extentOf(fill: Fill): Extent {
  const { state, sizeBytes, writtenBytes } = fill;
  if (state === 'verified') return { bytes: sizeBytes, state: 'whole' };
  return { bytes: Math.min(writtenBytes, sizeBytes - 1), state };
}
