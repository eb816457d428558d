import { constants } from 'node:fs';
import { dirname, join } from 'node:path';
import { errorCode, isAbsent, unavailable } from './failures.ts';
import { DIRECTORY_MODE, type FileOperations } from './file-operations.ts';

const OPEN_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

interface Syncs {
  running: Promise<void>;
  /** Begins when `running` has ended: whoever asks while one runs needs a later one, and all of them share it. */
  next: Promise<void> | null;
}

/** The directories below the root: which are known to stand durably, and fsync of each, shared by all who wait for it. */
export class Directories {
  readonly #files: FileOperations;
  readonly #root: string;
  readonly #known = new Set<string>();
  readonly #genuine = new Set<string>();
  readonly #syncs = new Map<string, Syncs>();

  constructor(files: FileOperations, root: string) {
    this.#files = files;
    this.#root = root;
  }

  path(directory: string): string {
    return join(this.#root, directory);
  }

  forget(directory: string): void {
    this.#known.delete(directory);
    this.#genuine.delete(directory);
  }

  /** Makes the directory and those above it, each durable in its parent; remembers, so that this costs nothing later. */
  async ensure(directory: string): Promise<void> {
    if (this.#known.has(directory)) return;
    const parent = dirname(directory);
    if (parent !== '.') await this.ensure(parent);
    const made = await this.#make(directory);
    try {
      await this.sync(directory);
      await this.sync(parent);
    } catch (error) {
      // A sync after one that failed may answer success for a name that is lost: next time it is made anew.
      if (made) await this.#files.rmdir(this.path(directory)).catch(() => undefined);
      throw error;
    }
    this.#known.add(directory);
    this.#genuine.add(directory);
  }

  /** False when it is there. Another process may have made it a moment ago and not yet have synced it: sync it as well. */
  async #make(directory: string): Promise<boolean> {
    try {
      await this.#files.mkdir(this.path(directory), { mode: DIRECTORY_MODE });
      return true;
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
      return false;
    }
  }

  /** False when the directory is not there; throws when a link or a file stands in its place. */
  async check(directory: string): Promise<boolean> {
    if (this.#genuine.has(directory)) return true;
    const parent = dirname(directory);
    if (parent !== '.' && !(await this.check(parent))) return false;
    try {
      const found = await this.#files.lstat(this.path(directory));
      if (!found.isDirectory()) throw unavailable(`${directory} in the blob store is not a directory`);
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
    this.#genuine.add(directory);
    return true;
  }

  /** Resolves after an fsync that began no earlier than this call. */
  sync(directory: string): Promise<void> {
    const syncs = this.#syncs.get(directory);
    if (syncs === undefined) {
      const running = this.#syncNow(directory);
      this.#track(directory, { running, next: null });
      return running;
    }
    syncs.next ??= syncs.running.then(
      () => this.#syncNow(directory),
      () => this.#syncNow(directory),
    );
    return syncs.next;
  }

  #track(directory: string, syncs: Syncs): void {
    this.#syncs.set(directory, syncs);
    const ended = (): void => {
      if (syncs.next === null) this.#syncs.delete(directory);
      else this.#track(directory, { running: syncs.next, next: null });
    };
    syncs.running.then(ended, ended);
  }

  async #syncNow(directory: string): Promise<void> {
    const handle = await this.#files.open(this.path(directory), OPEN_DIRECTORY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}
