import { type FileHandle, open } from 'node:fs/promises';
import { Unavailable } from '../../std/unavailable.ts';
import { writeLogAgain } from './mend-log.ts';
import type { CommittedFrames } from './wal-index.ts';

/** Between two attempts to mend, in milliseconds. */
const mendPauseMillisMin = 500;

export interface SyncStats {
  /** Durable commits that waited. */
  readonly waits: number;
  /** Calls of fdatasync that answered them. */
  readonly syncs: number;
}

/**
 * Group commit: makes committed transactions durable with one asynchronous fdatasync of the write-ahead log for all that
 * committed before it began.
 *
 * Why that is enough. With `synchronous=normal` SQLite writes a transaction's frames to the log and returns from COMMIT
 * without a sync. The frames are then in the operating system's cache of the same file that we sync, so a sync that
 * begins after COMMIT returned covers them, and with them all earlier frames, other processes' too: recovery needs an
 * unbroken row of valid frames, and the file as a whole is flushed. fdatasync also writes the file's new length.
 *
 * A checkpoint takes nothing away: SQLite syncs the log before it copies pages into the database and syncs the database
 * before it lets the log start again from its beginning. So a transaction whose frames were overwritten by the time of
 * our sync is durable in the database. `truncate` empties the same file; the file is removed only when the last
 * connection of all processes closes, and the store keeps its connections open as long as this descriptor.
 *
 * After one failed sync the kernel may have dropped the dirty pages and report success the next time. So no next sync is
 * believed: everybody who waits is told, and the store writes no more until `mend` has written the whole log again. Every
 * process meets the failure on its own descriptor, and mends for itself.
 *
 * The descriptor is on the log, never on the database: closing any descriptor of that file would drop SQLite's POSIX locks.
 */
export class WalSync {
  readonly #file: FileHandle;
  #waiting: PromiseWithResolvers<void> | null = null;
  #running = false;
  #failure: Unavailable | null = null;
  #mendedAt = Number.NEGATIVE_INFINITY;
  #waits = 0;
  #syncs = 0;
  readonly #observe: (seconds: number, outcome: 'ok' | 'error') => void;

  private constructor(file: FileHandle, observe: (seconds: number, outcome: 'ok' | 'error') => void) {
    this.#file = file;
    this.#observe = observe;
  }

  /** `walFile` must exist: a connection that has read in WAL mode made it. */
  static async open(
    walFile: string,
    observe: (seconds: number, outcome: 'ok' | 'error') => void,
  ): Promise<WalSync> {
    return new WalSync(await open(walFile, 'r+'), observe);
  }

  get failure(): Unavailable | null {
    return this.#failure;
  }

  get stats(): SyncStats {
    return { waits: this.#waits, syncs: this.#syncs };
  }

  /** A checkpoint synced the log, too, and may have been the one to hear of a failure. */
  doubt(cause: unknown): void {
    this.#failure ??= failureOf(cause);
  }

  /**
   * Makes durable what a failed sync may have lost. `committed` is asked, and nothing may be committed, while it runs:
   * the caller holds the write lock. Throws the failure when it lasts.
   */
  async mend(committed: () => CommittedFrames | null): Promise<void> {
    if (this.#failure === null) return;
    // A broken device must not be worn out by everybody who asks.
    if (performance.now() - this.#mendedAt < mendPauseMillisMin) throw this.#failure;
    try {
      const frames = committed();
      const isWhole = frames !== null && (await writeLogAgain(this.#file, frames));
      if (!isWhole) throw new Error('what was committed cannot be read back from the log of the ledger');
      await this.#file.datasync();
      this.#failure = null;
    } catch (cause) {
      this.#failure = failureOf(cause);
      throw this.#failure;
    } finally {
      this.#mendedAt = performance.now();
    }
  }

  /** Resolves when all that was committed before this call survives power loss. */
  async wait(): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    this.#waits += 1;
    this.#waiting ??= Promise.withResolvers<void>();
    const { promise } = this.#waiting;
    if (!this.#running) void this.#run();
    await promise;
  }

  /** Lets everybody who waits have an answer first. */
  async close(): Promise<void> {
    while (this.#running) await new Promise(setImmediate);
    await this.#file.close();
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Commits of the same turn of the event loop share the first sync.
    await new Promise(setImmediate);
    while (this.#waiting !== null) {
      const group: PromiseWithResolvers<void> = this.#waiting;
      this.#waiting = null;
      await this.#syncFor(group);
    }
    this.#running = false;
  }

  async #syncFor(group: PromiseWithResolvers<void>): Promise<void> {
    if (this.#failure !== null) {
      group.reject(this.#failure);
      return;
    }
    const start = performance.now();
    try {
      await this.#file.datasync();
      this.#syncs += 1;
      this.#observe((performance.now() - start) / 1000, 'ok');
      group.resolve();
    } catch (cause) {
      this.#observe((performance.now() - start) / 1000, 'error');
      this.#failure = failureOf(cause);
      group.reject(this.#failure);
    }
  }
}

function failureOf(cause: unknown): Unavailable {
  const message = 'the device of the ledger failed to make a commit durable: check it';
  return new Unavailable('meta store', message, { retryable: false, cause });
}
