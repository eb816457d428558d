import { constants, type Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Digest } from '../../oci/digest.ts';
import { either } from '../../std/either.ts';
import type {
  BlobBody,
  BlobLocation,
  BlobStore,
  ByteRange,
  FreeSpace,
  Page,
  StagedUpload,
  StoredBlob,
  UploadId,
} from '../blob-store.ts';
import { newUploadId, parseUploadId } from '../upload-id.ts';
import { Directories } from './directories.ts';
import { isAbsent, translating, unavailable } from './failures.ts';
import { FileBody } from './file-body.ts';
import { FILE_MODE, type FileOperations, statOpen, systemFileOperations } from './file-operations.ts';
import {
  ALGORITHMS,
  BLOBS,
  blobPlace,
  locationOf,
  type Place,
  parseLocation,
  UPLOADS,
  uploadPlace,
} from './layout.ts';
import { listFanOut } from './listing.ts';
import { prepareRoot } from './prepare.ts';
import { SyncFailed, writeChunks } from './write-chunks.ts';

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;

/** An upload whose last byte is no older needs no new time at its commit. */
const FRESH_MILLISECONDS_MAX = 60_000;

/** Prepares the root and opens the store on it. Throws `Unavailable` with a sentence when the root cannot be used. */
export async function openFsBlobStore(options: {
  readonly root: string;
  readonly files?: FileOperations;
}): Promise<BlobStore> {
  const files = options.files ?? systemFileOperations;
  const root = await prepareRoot(files, options.root);
  const store = new FsBlobStore(files, new Directories(files, root));
  await store.prepare();
  return store;
}

interface OpenedFile {
  readonly handle: FileHandle;
  readonly stats: Stats;
}

class FsBlobStore implements BlobStore {
  readonly driver = 'fs';
  readonly presign = null;
  readonly upkeep = [];
  readonly space = (): Promise<FreeSpace> => this.#space();
  readonly #files: FileOperations;
  readonly #directories: Directories;
  /** Uploads whose bytes a failed sync may have lost and that could not be removed yet. */
  readonly #lost = new Set<UploadId>();

  constructor(files: FileOperations, directories: Directories) {
    this.#files = files;
    this.#directories = directories;
  }

  async prepare(): Promise<void> {
    await translating('prepare the storage root', async () => {
      await this.#directories.ensure(UPLOADS);
      for (const algorithm of ALGORITHMS) await this.#directories.ensure(`${BLOBS}/${algorithm}`);
    });
    await this.probe(new AbortController().signal);
  }

  async append(
    uploadId: UploadId,
    offset: number,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    lost?: AbortSignal,
  ): Promise<number> {
    return await translating('write to an upload', async () => {
      await this.#removeLost(uploadId);
      const place = uploadPlace(uploadId);
      const opened =
        offset === 0
          ? await this.#inDirectory(place.directory, () => this.#open(place, O_WRONLY | O_CREAT))
          : await this.#openFile(place, O_WRONLY);
      if (opened === null) throw new RangeError('the upload is not staged');
      const { handle, stats } = opened;
      try {
        if (offset > stats.size)
          throw new RangeError(`offset ${offset} is beyond the ${stats.size} bytes staged`);
        lost?.throwIfAborted();
        if (offset < stats.size) await handle.truncate(offset);
        return await writeChunks(handle, offset, chunks, either(signal, lost));
      } catch (error) {
        if (!(error instanceof SyncFailed)) throw error;
        await this.#lose(uploadId);
        throw error.cause;
      } finally {
        await handle.close();
      }
    });
  }

  async staged(uploadId: UploadId): Promise<StagedUpload | null> {
    const stats = await translating('look at an upload', async () => {
      await this.#removeLost(uploadId);
      return this.#stats(uploadPlace(uploadId));
    });
    return stats === null ? null : { uploadId, sizeBytes: stats.size, modifiedAt: modifiedAt(stats) };
  }

  async readStaged(uploadId: UploadId, signal: AbortSignal): Promise<BlobBody | null> {
    return await translating('read an upload', () => this.#body(uploadPlace(uploadId), null, signal));
  }

  /** Bytes durable, directory durable, name in place, name durable: in this order. */
  async commit(uploadId: UploadId, digest: Digest, sizeBytes: number): Promise<StoredBlob | null> {
    const location = locationOf(digest);
    const from = uploadPlace(uploadId);
    const to = blobPlace(location);
    return await translating('commit a blob', async () => {
      await this.#removeLost(uploadId);
      const modifiedAt = await this.#makeDurable(uploadId, sizeBytes);
      if (modifiedAt === null) return null;
      try {
        await this.#inDirectory(to.directory, () => this.#files.rename(this.#path(from), this.#path(to)));
      } catch (error) {
        if (isAbsent(error)) return null;
        throw error;
      }
      await this.#directories.sync(to.directory);
      return { location, uploadId: null, sizeBytes, modifiedAt };
    });
  }

  async discard(uploadId: UploadId): Promise<void> {
    await translating('discard an upload', () => this.#unlink(uploadPlace(uploadId)));
    this.#lost.delete(uploadId);
  }

  /** What was committed stands at its digest's place, where others may need it. */
  withdraw(uploadId: UploadId): Promise<void> {
    return this.discard(uploadId);
  }

  async open(location: BlobLocation, range: ByteRange | null, signal: AbortSignal): Promise<BlobBody | null> {
    return await translating('open a blob', () => this.#body(blobPlace(location), range, signal));
  }

  async stat(location: BlobLocation): Promise<StoredBlob | null> {
    const stats = await translating('look at a blob', () => this.#stats(blobPlace(location)));
    if (stats === null) return null;
    return { location, uploadId: null, sizeBytes: stats.size, modifiedAt: modifiedAt(stats) };
  }

  locate(_uploadId: UploadId, digest: Digest): BlobLocation {
    return locationOf(digest);
  }

  owns(location: BlobLocation): boolean {
    return parseLocation(location) !== null;
  }

  async delete(location: BlobLocation): Promise<void> {
    const place = blobPlace(location);
    await translating('delete a blob', async () => {
      if (!(await this.#directories.check(place.directory))) return;
      await this.#unlink(place);
      // Also when it was gone already: whoever removed it may not have synced yet.
      await this.#directories.sync(place.directory);
    });
  }

  async list(cursor: string | null, limit: number): Promise<Page<StoredBlob>> {
    return await translating('list blobs', async () => {
      const names = await listFanOut(this.#files, {
        root: this.#directories.path(BLOBS),
        branches: ALGORITHMS,
        after: cursor ?? '',
        limit,
        matches: (path) => parseLocation(path) !== null,
      });
      return {
        entries: names.files.map(({ path, stats }) => ({
          location: path as BlobLocation,
          uploadId: null,
          sizeBytes: stats.size,
          modifiedAt: modifiedAt(stats),
        })),
        cursor: names.cursor,
      };
    });
  }

  async listStaged(cursor: string | null, limit: number): Promise<Page<StagedUpload>> {
    return await translating('list uploads', async () => {
      const names = await listFanOut(this.#files, {
        root: this.#directories.path('.'),
        branches: [UPLOADS],
        after: cursor ?? '',
        limit,
        matches: (path) => uploadIn(path) !== null,
      });
      return {
        entries: names.files.map(({ path, stats }) => ({
          uploadId: uploadIn(path) as UploadId,
          sizeBytes: stats.size,
          modifiedAt: modifiedAt(stats),
        })),
        cursor: names.cursor,
      };
    });
  }

  /** A device that hangs must not hang the caller: the signal is listened to while a call is under way. */
  async probe(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const abort = Promise.withResolvers<never>();
    const onAbort = (): void => abort.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([translating('write to the storage root', () => this.#writeProbe()), abort.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async close(): Promise<void> {}

  async #writeProbe(): Promise<void> {
    const place: Place = { directory: '.', name: `.probe-${newUploadId()}` };
    const handle = await this.#files.open(
      this.#path(place),
      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
      FILE_MODE,
    );
    try {
      await handle.write(Buffer.from('probe\n'));
      await handle.sync();
    } finally {
      await handle.close();
      await this.#unlink(place);
    }
  }

  async #space(): Promise<FreeSpace> {
    const device = await translating('ask for free space', () =>
      this.#files.statfs(this.#directories.path('.')),
    );
    return { freeBytes: device.bavail * device.bsize, totalBytes: device.blocks * device.bsize };
  }

  /** The time of the commit becomes the blob's: an upload that took days must not look like an old orphan. */
  async #makeDurable(uploadId: UploadId, sizeBytes: number): Promise<number | null> {
    const opened = await this.#openFile(uploadPlace(uploadId), O_WRONLY);
    if (opened === null) return null;
    const { handle, stats } = opened;
    try {
      if (stats.size < sizeBytes) return null;
      if (stats.size > sizeBytes) await handle.truncate(sizeBytes);
      const now = new Date();
      const isFresh = Math.abs(now.getTime() - stats.mtimeMs) < FRESH_MILLISECONDS_MAX;
      if (!isFresh) await handle.utimes(now, now);
      await this.#sync(uploadId, handle);
      return isFresh ? modifiedAt(stats) : now.getTime();
    } finally {
      await handle.close();
    }
  }

  /**
   * After a sync that failed, the kernel takes the pages that it could not write for clean, so the next sync would answer
   * success for bytes that are lost. So the upload is staged no more: its bytes have to come again.
   */
  async #sync(uploadId: UploadId, handle: FileHandle): Promise<void> {
    try {
      await handle.sync();
    } catch (error) {
      await this.#lose(uploadId);
      throw error;
    }
  }

  async #lose(uploadId: UploadId): Promise<void> {
    this.#lost.add(uploadId);
    await this.#removeLost(uploadId).catch(() => undefined);
  }

  async #removeLost(uploadId: UploadId): Promise<void> {
    if (!this.#lost.has(uploadId)) return;
    await this.#unlink(uploadPlace(uploadId));
    this.#lost.delete(uploadId);
  }

  async #body(place: Place, range: ByteRange | null, signal: AbortSignal): Promise<BlobBody | null> {
    signal.throwIfAborted();
    const opened = await this.#openFile(place, O_RDONLY);
    if (opened === null) return null;
    return new FileBody(opened.handle, { sizeBytes: opened.stats.size, range, signal });
  }

  /** Null when there is none. */
  async #openFile(place: Place, flags: number): Promise<OpenedFile | null> {
    if (!(await this.#directories.check(place.directory))) return null;
    try {
      return await this.#open(place, flags);
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  /** Never waits for the other end of a pipe somebody put there (O_NONBLOCK). */
  async #open(place: Place, flags: number): Promise<OpenedFile> {
    const path = this.#path(place);
    const handle = await this.#files.open(path, flags | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);
    try {
      const stats = statOpen(handle);
      if (!stats.isFile())
        throw unavailable(`${place.directory}/${place.name} in the blob store is not a file`);
      return { handle, stats };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async #stats(place: Place): Promise<Stats | null> {
    if (!(await this.#directories.check(place.directory))) return null;
    try {
      const stats = await this.#files.lstat(this.#path(place));
      if (!stats.isFile())
        throw unavailable(`${place.directory}/${place.name} in the blob store is not a file`);
      return stats;
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  /** Runs `work` in the directory, and once more if the directory was removed after it was last seen. */
  async #inDirectory<T>(directory: string, work: () => Promise<T>): Promise<T> {
    await this.#directories.ensure(directory);
    try {
      return await work();
    } catch (error) {
      if (!isAbsent(error)) throw error;
      this.#directories.forget(directory);
      await this.#directories.ensure(directory);
      return await work();
    }
  }

  async #unlink(place: Place): Promise<void> {
    try {
      await this.#files.unlink(this.#path(place));
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
  }

  #path(place: Place): string {
    return `${this.#directories.path(place.directory)}/${place.name}`;
  }
}

function modifiedAt(stats: Stats): number {
  return Math.floor(stats.mtimeMs);
}

/** The upload id in `uploads/4c/4c1ad0…`, when the path is of that form. */
function uploadIn(path: string): UploadId | null {
  const [branch, fanOut, name, ...rest] = path.split('/');
  const uploadId = parseUploadId(name ?? '');
  if (branch !== UPLOADS || uploadId === null || rest.length > 0) return null;
  return uploadId.slice(0, 2) === fanOut ? uploadId : null;
}
