import { createHash } from 'node:crypto';
import { type Digest, digestAlgorithm, makeDigest } from '../../oci/digest.ts';
import type { Logger, Metrics } from '../../telemetry/telemetry.ts';
import type {
  BlobBody,
  BlobLocation,
  BlobStore,
  ByteRange,
  FreeSpace,
  Page,
  StagedUpload,
  StoredBlob,
  Upkeep,
  UploadId,
} from '../blob-store.ts';
import { firstBytes, once } from '../body-bytes.ts';
import type { FileOperations } from '../fs/file-operations.ts';
import { listBoth } from '../list-both.ts';
import { ownPlace } from '../own-place.ts';
import { BacklogLimit } from './backlog-limit.ts';
import { CopyEvictor } from './evict-copies.ts';
import { sealCopy } from './fill.ts';
import { fileOf, HotFiles, hotKey } from './hot-files.ts';
import { ReadThrough } from './read-through.ts';
import { encodeSeal, PieceSums, type Seal } from './seal.ts';
import { BacklogSender, sendBytes } from './send-backlog.ts';
import { Tee } from './tee.ts';

/**
 * `write-through`: what is committed is durable in the cold tier. `write-back`: it is durable on this machine, and waits in
 * the backlog for the cold tier.
 */
export type TieredMode = 'write-through' | 'write-back';

export interface TieredOptions {
  /** Closed with the store. */
  readonly cold: BlobStore;
  readonly hotRoot: string;
  readonly mode: TieredMode;
  /** Of all copies; what waits for the cold tier comes on top, up to `backlogBytesMax`. */
  readonly hotBytesMax: number;
  /** A copy that was not used for so long goes. */
  readonly hotAgeSecondsMax: number;
  readonly backlogBytesMax: number;
  readonly sendsMax: number;
  /** So much of the device of the hot directory is left free. */
  readonly reserveBytes: number;
  readonly metrics: Pick<Metrics, 'tier' | 'tierBacklog' | 'tierCopies'>;
  readonly log: Pick<Logger, 'warn' | 'error'> | null;
  readonly files?: FileOperations;
}

/** Copies of what was just pushed that this process makes at a time; the others are made when they are read. */
const ADOPTIONS_MAX = 2;
/** How old an answer of the device may be before it is asked again, in milliseconds. */
const SPACE_AGE_MILLISECONDS_MAX = 1_000;
const neverAborted = new AbortController().signal;

/** A file system on this machine before another store, which has everything in the end and decides where it stands. */
export async function openTieredBlobStore(options: TieredOptions): Promise<TieredBlobStore> {
  const { hotRoot, files } = options;
  const hot = await HotFiles.open({ root: hotRoot, ...(files === undefined ? {} : { files }) });
  return new TieredBlobStore(options, hot);
}

export class TieredBlobStore implements BlobStore {
  readonly driver = 'tiered';
  /** The address of the cold tier would lead past the copies. */
  readonly presign = null;
  readonly space: (() => Promise<FreeSpace>) | null;
  readonly upkeep: readonly Upkeep[];
  readonly #options: TieredOptions;
  readonly #hot: HotFiles;
  readonly #cold: BlobStore;
  readonly #reads: ReadThrough;
  readonly #limit: BacklogLimit;
  /** Copies that are being made of what was just pushed, and of which place. */
  readonly #adoptions = new Map<Promise<void>, BlobLocation>();
  #free: { readonly bytes: number; readonly at: number } | null = null;

  constructor(options: TieredOptions, hot: HotFiles) {
    const { cold, metrics, mode, hotBytesMax } = options;
    this.#options = options;
    this.#hot = hot;
    this.#cold = cold;
    this.#limit = new BacklogLimit(hot, options.backlogBytesMax);
    this.space = mode === 'write-back' ? hot.backlog.space : cold.space;
    this.#reads = new ReadThrough({
      hot,
      cold,
      metrics,
      hotBytesMax,
      hasRoom: (bytes) => this.#hasRoom(bytes),
      onRot: (location, problem) => {
        metrics.tier('rotten');
        options.log?.error({ location, err: problem }, 'a rotten copy was removed; the cold tier answers');
      },
    });
    const onProblem = (problem: unknown, about: string): void => options.log?.error({ err: problem }, about);
    this.upkeep = [
      new BacklogSender({ hot, cold, metrics, sendsMax: options.sendsMax, onProblem }),
      new CopyEvictor({
        hot,
        metrics,
        bytesMax: hotBytesMax,
        ageSecondsMax: options.hotAgeSecondsMax,
        reserveBytes: options.reserveBytes,
      }),
      ...cold.upkeep,
    ];
  }

  async append(
    uploadId: UploadId,
    offset: number,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    lost?: AbortSignal,
  ): Promise<number> {
    if (this.#isWriteBack) return await this.#hot.backlog.append(uploadId, offset, chunks, signal, lost);
    if (!(await this.#hasRoom(0))) return await this.#cold.append(uploadId, offset, chunks, signal, lost);
    const tee = new Tee(this.#hot, uploadId, offset);
    try {
      return await this.#cold.append(uploadId, offset, tee.through(chunks), signal, lost);
    } finally {
      await tee.end();
    }
  }

  staged(uploadId: UploadId): Promise<StagedUpload | null> {
    return this.#stagingTier.staged(uploadId);
  }

  readStaged(uploadId: UploadId, signal: AbortSignal): Promise<BlobBody | null> {
    return this.#stagingTier.readStaged(uploadId, signal);
  }

  async commit(uploadId: UploadId, digest: Digest, sizeBytes: number): Promise<StoredBlob | null> {
    if (this.#isWriteBack) return await this.#commitHere({ uploadId, digest, sizeBytes });
    const stored = await this.#cold.commit(uploadId, digest, sizeBytes);
    if (stored !== null) this.#adopt({ uploadId, digest, sizeBytes, location: stored.location });
    return stored;
  }

  async discard(uploadId: UploadId): Promise<void> {
    const isHere = this.#isWriteBack && (await this.#hot.backlog.staged(uploadId)) !== null;
    await this.#hot.backlog.discard(uploadId);
    await this.#hot.copies.discard(uploadId).catch(() => undefined);
    // Nothing of it went on: the cold tier need not be there.
    if (!isHere) await this.#cold.discard(uploadId);
  }

  async withdraw(uploadId: UploadId): Promise<void> {
    const isHere = this.#isWriteBack && (await this.#hot.backlog.staged(uploadId)) !== null;
    await this.#hot.backlog.discard(uploadId);
    await this.#hot.copies.discard(uploadId).catch(() => undefined);
    if (isHere) return;
    const own = ownPlace(this.#cold, uploadId);
    if (own !== null) await this.#dropHere(own);
    await this.#cold.withdraw(uploadId);
  }

  async open(
    location: BlobLocation,
    range: ByteRange | null,
    signal: AbortSignal,
    digest?: Digest,
  ): Promise<BlobBody | null> {
    signal.throwIfAborted();
    if (digest === undefined) return await this.#openKept(location, range, signal);
    let problem: Error | null = null;
    try {
      const here = await this.#reads.openHot(location, range, signal);
      if (here !== null) return here;
    } catch (error) {
      signal.throwIfAborted();
      problem = error instanceof Error ? error : new Error('the hot tier failed', { cause: error });
      this.#options.metrics.tier('hot_failed');
    }
    const body = await this.#reads.openCold({ location, range, signal, digest });
    // It may be the one that only this machine has.
    if (body === null && problem !== null) throw problem;
    return body;
  }

  async stat(location: BlobLocation): Promise<StoredBlob | null> {
    const seal = await this.#hot.sealIn('backlog', location);
    const stored = seal === null ? null : await this.#hot.backlog.stat(fileOf(location));
    if (seal !== null && stored !== null)
      return describeWaiting(seal, stored, ownPlace(this.#cold, seal.uploadId));
    return await this.#cold.stat(location);
  }

  locate(uploadId: UploadId, digest: Digest): BlobLocation {
    return this.#cold.locate(uploadId, digest);
  }

  owns(location: BlobLocation): boolean {
    return this.#cold.owns(location);
  }

  /** What waits goes first: else it would be sent after the cold tier has forgotten it. */
  async delete(location: BlobLocation): Promise<void> {
    await this.#dropHere(location);
    await this.#cold.delete(location);
    await this.#hot.drop(location);
  }

  async list(cursor: string | null, limit: number): Promise<Page<StoredBlob>> {
    return await listBoth(
      { cursor, limit },
      {
        first: async (at, most) => {
          const page = await this.#hot.backlog.list(at, most);
          const found = await Promise.all(page.entries.map((file) => this.#describeFile(file)));
          return { ...page, entries: found.filter((blob) => blob !== null) };
        },
        second: async (at, most) => {
          const page = await this.#cold.list(at, most);
          const waits = await Promise.all(
            page.entries.map(({ location }) => this.#hot.backlog.stat(fileOf(location))),
          );
          return { ...page, entries: page.entries.filter((_, index) => waits[index] === null) };
        },
      },
    );
  }

  /** Of the cold tier also what is being sent to it: dropping that would only make it be sent again. */
  async listStaged(cursor: string | null, limit: number): Promise<Page<StagedUpload>> {
    return await listBoth(
      { cursor, limit },
      {
        first: (at, most) => this.#hot.backlog.listStaged(at, most),
        second: (at, most) => this.#cold.listStaged(at, most),
      },
    );
  }

  /** Asks the tier that has to take what is pushed. */
  async probe(signal: AbortSignal): Promise<void> {
    await this.#stagingTier.probe(signal);
  }

  async close(): Promise<void> {
    await this.#reads.close();
    await Promise.all(this.#adoptions.keys());
    await this.#hot.close();
    await this.#cold.close();
  }

  /** Resolves when no copy is being made by this process. For tests. */
  async settled(): Promise<void> {
    await this.#reads.settled();
    await Promise.all(this.#adoptions.keys());
  }

  get #isWriteBack(): boolean {
    return this.#options.mode === 'write-back';
  }

  get #stagingTier(): BlobStore {
    return this.#isWriteBack ? this.#hot.backlog : this.#cold;
  }

  /** Bytes that are to be the truth: those that wait, else the cold tier's. */
  async #openKept(
    location: BlobLocation,
    range: ByteRange | null,
    signal: AbortSignal,
  ): Promise<BlobBody | null> {
    const waits = (await this.#hot.backlog.stat(fileOf(location))) !== null;
    const here = waits ? await this.#reads.openHot(location, range, signal) : null;
    return here ?? (await this.#cold.open(location, range, signal));
  }

  async #commitHere(blob: Omit<Seal, 'location'>): Promise<StoredBlob | null> {
    const { uploadId, digest, sizeBytes } = blob;
    const { backlog } = this.#hot;
    const staged = await backlog.staged(uploadId);
    if (staged === null || staged.sizeBytes < sizeBytes) return null;
    const location = this.#cold.locate(uploadId, digest);
    const seal = { ...blob, location };
    if (!(await this.#limit.hasRoom(sizeBytes))) return await this.#commitThrough(seal);
    const sums = await this.#sumsOfStaged(uploadId, sizeBytes);
    if (sums === null) return null;
    const encoded = encodeSeal(seal, sums);
    await backlog.append(uploadId, sizeBytes, once(encoded), neverAborted);
    const stored = await backlog.commit(uploadId, hotKey(location), sizeBytes + encoded.byteLength);
    if (stored === null) return null;
    this.#limit.add(stored.sizeBytes);
    const own = ownPlace(this.#cold, uploadId);
    // Where the place is that of the digest, a copy may be there already; the newer bytes have to win.
    if (own === null) await this.#hot.drop(location);
    await this.#hot.noteChange();
    return describeWaiting(seal, stored, own);
  }

  /** The backlog has no room: whoever pushes waits for the cold tier, and hears when it is away. */
  async #commitThrough(seal: Seal): Promise<StoredBlob | null> {
    this.#options.metrics.tier('backlog_full');
    const { backlog } = this.#hot;
    const body = await backlog.readStaged(seal.uploadId, neverAborted);
    if (body === null) return null;
    try {
      const chunks = firstBytes(body.chunks, seal.sizeBytes);
      const stored = await sendBytes(this.#cold, { seal, chunks, signal: neverAborted });
      await backlog.discard(seal.uploadId);
      return stored;
    } finally {
      await body.close();
    }
  }

  async #sumsOfStaged(uploadId: UploadId, sizeBytes: number): Promise<Uint32Array | null> {
    const body = await this.#hot.backlog.readStaged(uploadId, neverAborted);
    if (body === null) return null;
    const sums = new PieceSums();
    try {
      for await (const chunk of firstBytes(body.chunks, sizeBytes)) {
        sums.update(chunk);
        body.recycle?.(chunk);
      }
      return sums.finish();
    } finally {
      await body.close();
    }
  }

  /** Makes what was staged for both tiers a copy, once it is known to be right. Nobody waits for it. */
  #adopt(seal: Seal): void {
    const adopting = this.#adoptions.size < ADOPTIONS_MAX ? this.#adoptStaged(seal) : this.#letGo(seal);
    const tracked = adopting
      .catch(() => this.#letGo(seal))
      .finally(() => {
        this.#adoptions.delete(tracked);
      });
    this.#adoptions.set(tracked, seal.location);
  }

  async #letGo({ uploadId }: Seal): Promise<void> {
    await this.#hot.copies.discard(uploadId).catch(() => undefined);
  }

  async #adoptStaged(seal: Seal): Promise<void> {
    const { uploadId, digest, sizeBytes } = seal;
    const { copies } = this.#hot;
    const body = await copies.readStaged(uploadId, neverAborted);
    if (body === null) return;
    const algorithm = digestAlgorithm(digest);
    const hash = createHash(algorithm);
    const sums = new PieceSums();
    try {
      for await (const chunk of firstBytes(body.chunks, sizeBytes)) {
        hash.update(chunk);
        sums.update(chunk);
        body.recycle?.(chunk);
      }
    } finally {
      await body.close();
    }
    if (makeDigest(algorithm, hash.digest('hex')) !== digest) {
      await this.#letGo(seal);
      return;
    }
    await sealCopy(this.#hot, { ...seal, sums: sums.finish() });
    this.#options.metrics.tier('filled');
  }

  async #describeFile(file: StoredBlob): Promise<StoredBlob | null> {
    const seal = await this.#hot.readSeal('backlog', file.location);
    return seal === null ? null : describeWaiting(seal, file, ownPlace(this.#cold, seal.uploadId));
  }

  async #dropHere(location: BlobLocation): Promise<void> {
    // A copy that is just being made would come after it.
    for (const [adopting, at] of this.#adoptions) if (at === location) await adopting;
    await this.#hot.backlog.delete(fileOf(location));
    await this.#hot.drop(location);
  }

  async #hasRoom(bytes: number): Promise<boolean> {
    const now = performance.now();
    if (this.#free === null || now - this.#free.at > SPACE_AGE_MILLISECONDS_MAX) {
      const space = await this.#hot.copies.space?.().catch(() => null);
      this.#free = { bytes: space?.freeBytes ?? 0, at: now };
    }
    return this.#free.bytes - bytes >= this.#options.reserveBytes;
  }
}

function describeWaiting(
  seal: Seal,
  file: Pick<StoredBlob, 'modifiedAt'>,
  own: BlobLocation | null,
): StoredBlob {
  const { location, sizeBytes, uploadId } = seal;
  return { location, sizeBytes, uploadId: own === null ? null : uploadId, modifiedAt: file.modifiedAt };
}
