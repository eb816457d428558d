import { mkdir, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { type Digest, digestOf } from '../../oci/digest.ts';
import type { BlobBody, BlobLocation, BlobStore, UploadId } from '../blob-store.ts';
import { readWhole } from '../body-bytes.ts';
import { isAbsent, translating } from '../fs/failures.ts';
import { DIRECTORY_MODE, FILE_MODE, type FileOperations } from '../fs/file-operations.ts';
import { openFsBlobStore } from '../fs/fs-blob-store.ts';
import { blobPlace, locationOf, uploadPlace } from '../fs/layout.ts';
import { parseSeal, type SealedFile, sealBytes } from './seal.ts';

/**
 * The hot directory of one machine:
 *
 *     <hot>/
 *       copies/      a file system store: blobs that the cold tier has, too; any of them may go at any time
 *       backlog/     a file system store: blobs that only this machine has so far, and (write-back) staged bytes
 *         changed    its time of modification tells the sender that there is something new
 *       fills/       what is being copied at the moment (`fills.ts`)
 *
 * Files in both stores are named by the hash of the blob's location in the cold tier, so that a location leads to its file,
 * and end with a seal (`seal.ts`). A file moves from `backlog` to `copies` when the cold tier has it durably: what may be
 * evicted and what may not stand in two directories, and nothing has to remember which is which.
 */
export type HotPlace = 'copies' | 'backlog';

export interface HotFile {
  readonly place: HotPlace;
  readonly seal: SealedFile;
}

export interface HotFilesOptions {
  readonly root: string;
  readonly files?: FileOperations;
}

/** Seals kept in memory: of so many files, and so many bytes of checksums. */
const SEALS_MAX = 10_000;
const SEALS_BYTES_MAX = 16 * 1024 * 1024;
const SEAL_OVERHEAD_BYTES = 512;
/** What is read of the end of a file at first: the seal of 8 GiB. */
const TAIL_BYTES = 64 * 1024;
/** How exactly the last use of a copy is noted. */
const USED_MILLISECONDS = 60_000;

export class HotFiles {
  readonly root: string;
  readonly copies: BlobStore;
  readonly backlog: BlobStore;
  readonly #seals = new LRUCache<string, SealedFile>({
    max: SEALS_MAX,
    maxSize: SEALS_BYTES_MAX,
    sizeCalculation: ({ sums }) => sums.byteLength + SEAL_OVERHEAD_BYTES,
  });
  readonly #used = new LRUCache<string, number>({ max: SEALS_MAX });

  private constructor(root: string, copies: BlobStore, backlog: BlobStore) {
    this.root = root;
    this.copies = copies;
    this.backlog = backlog;
  }

  /** Makes the directories. Throws `Unavailable` with a sentence when they cannot be used. */
  static async open({ root, files }: HotFilesOptions): Promise<HotFiles> {
    const operations = files === undefined ? {} : { files };
    const backlog = await openFsBlobStore({ root: join(root, 'backlog'), ...operations });
    const copies = await openFsBlobStore({ root: join(root, 'copies'), ...operations });
    await translating('prepare the hot directory', () =>
      mkdir(join(root, 'fills'), { recursive: true, mode: DIRECTORY_MODE }),
    );
    return new HotFiles(root, copies, backlog);
  }

  /** What is on this machine of the blob at this location; null when nothing is, or nothing whole. */
  async find(location: BlobLocation): Promise<HotFile | null> {
    for (const place of ['copies', 'backlog', 'copies'] as const) {
      const seal = await this.sealIn(place, location);
      if (seal !== null) return { place, seal };
    }
    return null;
  }

  /** Null when there is no file. A copy without a whole seal is removed; what waits for the cold tier never is. */
  async sealIn(place: HotPlace, location: BlobLocation): Promise<SealedFile | null> {
    const file = fileOf(location);
    const name = `${place}/${file}`;
    const stored = await this[place].stat(file);
    if (stored === null) {
      this.#seals.delete(name);
      return null;
    }
    const known = this.#seals.get(name);
    if (known !== undefined && known.totalBytes === stored.sizeBytes) return known;
    const seal = await this.readSeal(place, file);
    if (seal !== null && seal.location === location) {
      this.#seals.set(name, seal);
      return seal;
    }
    if (place === 'copies') await this.copies.delete(file);
    return null;
  }

  /** Of a file by its own name, which for others than this class is what `list` of a store told. */
  async readSeal(place: HotPlace, file: BlobLocation): Promise<SealedFile | null> {
    const stored = await this[place].stat(file);
    if (stored === null) return null;
    const totalBytes = stored.sizeBytes;
    const tail = await this.#tail(place, file, { totalBytes, bytes: TAIL_BYTES });
    const needed = tail === null ? null : sealBytes(tail, totalBytes);
    if (tail === null || needed === null) return null;
    if (needed <= tail.byteLength) return parseSeal(tail, totalBytes);
    const whole = await this.#tail(place, file, { totalBytes, bytes: needed });
    return whole === null ? null : parseSeal(whole, totalBytes);
  }

  /** The bytes `start` to `end` of a file, without any check; null when it has gone or has another size by now. */
  async openFile(
    { place, seal }: HotFile,
    range: { readonly start: number; readonly end: number },
    signal: AbortSignal,
  ): Promise<BlobBody | null> {
    const body = await this[place].open(fileOf(seal.location), range, signal);
    if (body === null || body.sizeBytes === seal.totalBytes) return body;
    await body.close();
    return null;
  }

  /** Notes that a copy is used: the least recently used go first. */
  async touch(location: BlobLocation): Promise<void> {
    const key = hotKey(location);
    const now = Date.now();
    if (now - (this.#used.get(key) ?? 0) < USED_MILLISECONDS) return;
    this.#used.set(key, now);
    await utimes(this.#path('copies', location), new Date(now), new Date(now)).catch(() => undefined);
  }

  /** Removes the copy, if there is one. */
  async drop(location: BlobLocation): Promise<void> {
    this.#seals.delete(`copies/${fileOf(location)}`);
    await this.copies.delete(fileOf(location));
  }

  /** What waits becomes a copy: only for what the cold tier has durably. False when it waits no more. */
  async promote(location: BlobLocation): Promise<boolean> {
    const to = this.#path('copies', location);
    return await translating('move a blob out of the backlog', async () => {
      await mkdir(dirname(to), { recursive: true, mode: DIRECTORY_MODE });
      try {
        await rename(this.#path('backlog', location), to);
        return true;
      } catch (error) {
        if (isAbsent(error)) return false;
        throw error;
      }
    });
  }

  /** Tells the sender, also of another process, that something waits. */
  async noteChange(): Promise<void> {
    const path = join(this.root, 'backlog', 'changed');
    const now = new Date();
    try {
      await utimes(path, now, now);
    } catch {
      // The sender looks by itself now and then.
      await writeFile(path, '', { mode: FILE_MODE }).catch(() => undefined);
    }
  }

  /** When something began to wait for the last time; null when that is not known. */
  async changedAt(): Promise<number | null> {
    const stats = await stat(join(this.root, 'backlog', 'changed')).catch(() => null);
    return stats === null ? null : stats.mtimeMs;
  }

  /** Where the bytes of a copy stand while they come in, and where they end up. */
  fillPaths(uploadId: UploadId, location: BlobLocation): readonly [string, string] {
    const { directory, name } = uploadPlace(uploadId);
    return [join(this.root, 'copies', directory, name), this.#path('copies', location)];
  }

  async close(): Promise<void> {
    await this.copies.close();
    await this.backlog.close();
  }

  #path(place: HotPlace, location: BlobLocation): string {
    const { directory, name } = blobPlace(fileOf(location));
    return join(this.root, place, directory, name);
  }

  async #tail(
    place: HotPlace,
    file: BlobLocation,
    wanted: { readonly totalBytes: number; readonly bytes: number },
  ): Promise<Buffer | null> {
    const { totalBytes } = wanted;
    if (totalBytes === 0) return Buffer.alloc(0);
    const range = { start: Math.max(0, totalBytes - wanted.bytes), end: totalBytes - 1 };
    const body = await this[place].open(file, range, new AbortController().signal);
    if (body === null) return null;
    return readWhole(body);
  }
}

/** The name of a blob in the hot directory, in the form of a digest: what a file system store names its files by. */
export function hotKey(location: BlobLocation): Digest {
  return digestOf('sha256', Buffer.from(location));
}

/** The file of a blob in either store of the hot directory. */
export function fileOf(location: BlobLocation): BlobLocation {
  return locationOf(hotKey(location));
}
