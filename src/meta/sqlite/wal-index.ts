import { openSync, readSync, type Stats, statSync } from 'node:fs';

/** `WalIndexHdr` (sqlite.org/walformat.html, 2.1): it stands twice at the start of the file, in 32-bit words of 4 bytes. */
const HEADER_WORDS = 12;
const HEADERS_BYTES = 2 * HEADER_WORDS * 4;
/** Words of the header: `mxFrame` and the two of `aFrameCksum`. */
const FRAMES_WORD = 4;
const CHECKSUM_WORD = 6;

/** What stands committed in the log. */
export interface CommittedFrames {
  readonly frames: number;
  /** Of the last of them. */
  readonly checksum: readonly [number, number];
}

/**
 * Tells whether anything was committed, by whatever process: every commit rewrites the header of the WAL index, and SQLite
 * itself compares it to learn whether its own page cache still holds. One read of 96 bytes costs a fraction of what a
 * query costs that finds nothing new.
 */
export class WalIndex {
  #file: number | null;
  readonly #bytes = new Uint8Array(HEADERS_BYTES);
  readonly #now = new Uint32Array(this.#bytes.buffer);
  readonly #seen = new Uint32Array(HEADER_WORDS);

  private constructor(file: number | null) {
    this.#file = file;
  }

  /** Of the database `file`, which a connection of this process has to have open for as long as this is asked. */
  static of(file: string): WalIndex {
    return new WalIndex(openOnce(`${file}-shm`));
  }

  /** Whether nothing was committed between the last call and this one; false, too, where that cannot be told. */
  isUnchanged(): boolean {
    if (this.#file === null || !this.#read(this.#file)) return false;
    const now = this.#now;
    const seen = this.#seen;
    let unchanged = true;
    for (let word = 0; word < HEADER_WORDS; word += 1) {
      // A commit writes one copy after the other: different ones mean that it is at it.
      if (now[word] !== now[word + HEADER_WORDS]) return false;
      if (now[word] !== seen[word]) unchanged = false;
    }
    if (!unchanged) seen.set(now.subarray(0, HEADER_WORDS));
    return unchanged;
  }

  /** Null where it cannot be told. Holds for as long as the caller has the write lock. */
  committed(): CommittedFrames | null {
    if (this.#file === null || !this.#read(this.#file)) return null;
    const word = (at: number): number => this.#now[at] ?? 0;
    for (let at = 0; at < HEADER_WORDS; at += 1) if (word(at) !== word(at + HEADER_WORDS)) return null;
    return { frames: word(FRAMES_WORD), checksum: [word(CHECKSUM_WORD), word(CHECKSUM_WORD + 1)] };
  }

  /** From now on nothing is known. */
  close(): void {
    this.#file = null;
  }

  #read(file: number): boolean {
    try {
      return readSync(file, this.#bytes, 0, HEADERS_BYTES, 0) === HEADERS_BYTES;
    } catch {
      return false;
    }
  }
}

/**
 * By device and inode. Never closed: SQLite holds locks on this file, and a process loses all its locks on a file when it
 * closes any descriptor of it (fcntl(2), "Record locks").
 */
const opened = new Map<string, number>();

/** Null where a file that is mapped by others does not surely read as they see it, or that is gone. */
function openOnce(path: string): number | null {
  if (process.platform !== 'linux') return null;
  const found: Stats | undefined = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return null;
  const key = `${found.dev}:${found.ino}`;
  const known = opened.get(key);
  if (known !== undefined) return known;
  const file = openSync(path, 'r');
  opened.set(key, file);
  return file;
}
