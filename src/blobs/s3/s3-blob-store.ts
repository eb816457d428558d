import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { S3Config, S3Credentials } from '../../config/config.ts';
import type { Digest } from '../../oci/digest.ts';
import { either } from '../../std/either.ts';
import type {
  BlobBody,
  BlobLocation,
  BlobStore,
  ByteRange,
  Page,
  Presign,
  StagedUpload,
  StoredBlob,
  UploadId,
} from '../blob-store.ts';
import { nothing } from '../body-bytes.ts';
import { ClientReader } from '../client-reader.ts';
import { isAbsent } from './failures.ts';
import { Layout, locationOf, uploadAt, uploadOf } from './layout.ts';
import { ObjectBody } from './object-body.ts';
import { Objects, piecesOf } from './objects.ts';
import { PartWriter, type WrittenParts } from './part-writer.ts';
import { presigning } from './presigning.ts';
import { Service, translating } from './service.ts';
import { type Base, COPY_BYTES_MAX, cutAt, NOTHING, Staging } from './staging.ts';
import { type Filling, UploadMemory } from './upload-memory.ts';
import { partsBytes, stagedBytes } from './upload-state.ts';

/** S3's own limit. */
const PARTS_MAX = 10_000;
/** States looked at side by side in a listing. */
const LOOKS_MAX = 16;
/** A write that succeeded so lately is proof enough that the bucket can be written to. */
const WRITE_PROBE_MILLISECONDS = 60_000;
/** Uploads that this process has written last, and that it therefore need not look at again. */
const REMEMBERED_MAX = 10_000;

export interface S3StoreOptions {
  readonly config: S3Config;
  /** `null`: those of the SDK's default chain. */
  readonly credentials: S3Credentials | null;
  /** Parts before they are joined. S3 takes 10,000. */
  readonly partsMax?: number;
  /** Bytes of one part that the service copies. S3 takes 5 GiB. */
  readonly copyBytesMax?: number;
}

/** Opens the store on the bucket; asks nothing yet. */
export function openS3BlobStore(options: S3StoreOptions): S3BlobStore {
  return new S3BlobStore(options);
}

export class S3BlobStore implements BlobStore {
  readonly driver = 's3';
  readonly presign: Presign;
  readonly upkeep = [];
  /** A bucket has no end that it would tell of. */
  readonly space = null;
  readonly memory: UploadMemory;
  readonly #config: S3Config;
  readonly objects: Objects;
  readonly layout: Layout;
  readonly staging: Staging;
  readonly #partsMax: number;
  /** Size of the object that this process has put at the key of an upload: nobody else writes it meanwhile. */
  readonly #wholeObjects = new LRUCache<UploadId, number>({ max: REMEMBERED_MAX });
  #wroteAt = Number.NEGATIVE_INFINITY;

  constructor({ config, credentials, partsMax = PARTS_MAX, copyBytesMax = COPY_BYTES_MAX }: S3StoreOptions) {
    this.#config = config;
    this.objects = new Objects(new Service(config, credentials));
    this.layout = new Layout(config.prefix);
    this.presign = presigning(this.objects.service, this.layout);
    this.#partsMax = partsMax;
    const { partBytes, uploadMemoryBytesMax } = config;
    this.memory = new UploadMemory({ bytesMax: uploadMemoryBytesMax, partBytes });
    const { objects, layout } = this;
    // One more for the tail.
    this.staging = new Staging({ objects, layout, partBytes, partsMax: partsMax - 1, copyBytesMax });
  }

  async append(
    uploadId: UploadId,
    offset: number,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    lost?: AbortSignal,
  ): Promise<number> {
    this.#wholeObjects.delete(uploadId);
    const source = new WatchedSource(chunks);
    const filling = this.memory.filling(lost);
    const objects = lost === undefined ? this.objects : this.objects.under(lost);
    const staging = lost === undefined ? this.staging : this.staging.under(objects);
    const append = { offset, filling, objects, staging, chunks: source, signal, lost };
    try {
      return await translating('write to an upload', async () => {
        if (offset > 0) {
          const base = await staging.baseAt(uploadId, offset, filling);
          return await this.#write(uploadId, { ...append, base });
        }
        // An upload that begins has nothing yet, hardly ever: this is found out while its bytes come.
        const dropped = staging.drop(uploadId);
        dropped.catch(() => undefined);
        return await this.#write(uploadId, { ...append, base: NOTHING, dropped });
      });
    } catch (error) {
      // What the source throws is told as it is: it is no failure of the service, whatever it looks like.
      signal.throwIfAborted();
      lost?.throwIfAborted();
      throw source.failure === null ? error : source.failure.error;
    } finally {
      filling.clear();
    }
  }

  async staged(uploadId: UploadId): Promise<StagedUpload | null> {
    return await translating('look at an upload', () => this.staging.look(uploadId));
  }

  async readStaged(uploadId: UploadId, signal: AbortSignal): Promise<BlobBody | null> {
    return await translating('read an upload', async () => {
      const state = await this.staging.readState(uploadId);
      const isJoined = state === null || stagedBytes(state) === 0;
      if (!isJoined) await this.staging.join(uploadId, state, this.memory.filling(signal));
      return await this.#body(uploadId, null, signal);
    });
  }

  async commit(uploadId: UploadId, _digest: Digest, sizeBytes: number): Promise<StoredBlob | null> {
    if (this.#wholeObjects.get(uploadId) === sizeBytes) {
      return { location: locationOf(uploadId), uploadId, sizeBytes, modifiedAt: Date.now() };
    }
    return await translating('commit a blob', async () => {
      const state = await this.staging.readState(uploadId);
      const inParts = state === null ? 0 : stagedBytes(state);
      if (state !== null && inParts > 0) {
        if (inParts < sizeBytes) return null;
        const cut = cutAt(state, sizeBytes);
        const kept = cut === null || sizeBytes === 0 ? state : { ...state, ...cut };
        try {
          await this.staging.join(uploadId, kept, this.memory.filling());
        } catch (error) {
          if (isAbsent(error)) return null;
          throw error;
        }
      } else if (state !== null) await this.staging.drop(uploadId);
      return await this.#settled(uploadId, sizeBytes);
    });
  }

  /** The object at the key as the blob; cut, where more is staged than the blob has. */
  async #settled(uploadId: UploadId, sizeBytes: number): Promise<StoredBlob | null> {
    const blob = await this.#stat(uploadId);
    if (blob === null || blob.sizeBytes < sizeBytes) return null;
    if (blob.sizeBytes === sizeBytes) return blob;
    const { signal } = new AbortController();
    await this.append(uploadId, sizeBytes, nothing(), signal);
    const state = await this.staging.readState(uploadId);
    if (state !== null) await this.staging.join(uploadId, state, this.memory.filling());
    return await this.#stat(uploadId);
  }

  /** What stands at the key stays: it may be a blob, and nothing here would tell. `withdraw` takes it away. */
  async discard(uploadId: UploadId): Promise<void> {
    await translating('discard an upload', () => this.staging.drop(uploadId));
  }

  async withdraw(uploadId: UploadId): Promise<void> {
    this.#wholeObjects.delete(uploadId);
    await translating('withdraw an upload', async () => {
      await this.staging.drop(uploadId);
      await this.objects.delete(this.layout.blobKey(uploadId));
    });
  }

  async open(location: BlobLocation, range: ByteRange | null, signal: AbortSignal): Promise<BlobBody | null> {
    return await translating('open a blob', () => this.#body(uploadAt(location), range, signal));
  }

  async stat(location: BlobLocation): Promise<StoredBlob | null> {
    return await translating('look at a blob', () => this.#stat(uploadAt(location)));
  }

  locate(uploadId: UploadId, _digest: Digest): BlobLocation {
    return locationOf(uploadId);
  }

  owns(location: BlobLocation): boolean {
    return uploadOf(location) !== null;
  }

  async delete(location: BlobLocation): Promise<void> {
    const uploadId = uploadAt(location);
    this.#wholeObjects.delete(uploadId);
    await translating('delete a blob', () => this.objects.delete(this.layout.blobKey(uploadId)));
  }

  async list(cursor: string | null, limit: number): Promise<Page<StoredBlob>> {
    return await translating('list blobs', async () => {
      const after = cursor === null ? null : `${this.layout.blobs}${cursor}`;
      const found = await this.objects.list(this.layout.blobs, after, limit);
      const entries = found.flatMap(({ key, sizeBytes, modifiedAt }) => {
        const uploadId = this.layout.uploadOfBlob(key);
        return uploadId === null ? [] : [{ location: locationOf(uploadId), uploadId, sizeBytes, modifiedAt }];
      });
      return { entries, cursor: nextCursor(found, limit, this.layout.blobs) };
    });
  }

  async listStaged(cursor: string | null, limit: number): Promise<Page<StagedUpload>> {
    return await translating('list uploads', async () => {
      const after = cursor === null ? null : `${this.layout.staged}${cursor}`;
      const found = await this.objects.list(this.layout.staged, after, limit);
      const uploadIds = found.flatMap(({ key }) => this.layout.uploadOfState(key) ?? []);
      const entries: StagedUpload[] = [];
      for (let start = 0; start < uploadIds.length; start += LOOKS_MAX) {
        const some = uploadIds.slice(start, start + LOOKS_MAX);
        const looks = await Promise.all(some.map((uploadId) => this.staging.look(uploadId)));
        entries.push(...looks.filter((look) => look !== null));
      }
      return { entries, cursor: nextCursor(found, limit, this.layout.staged) };
    });
  }

  async probe(signal: AbortSignal): Promise<void> {
    const { bucket, endpoint, region } = this.#config;
    await translating(`use the bucket ${bucket} at ${endpoint ?? `Amazon S3 in ${region}`}`, async () => {
      await this.objects.checkBucket(signal);
      if (performance.now() - this.#wroteAt < WRITE_PROBE_MILLISECONDS) return;
      const key = this.layout.probe(randomBytes(16).toString('hex'));
      await this.objects.putState(key, { body: piecesOf(Buffer.from('probe\n')), metadata: {}, signal });
      await this.objects.delete(key, signal);
      this.#wroteAt = performance.now();
    });
  }

  async close(): Promise<void> {
    this.objects.service.close();
  }

  async #write(uploadId: UploadId, append: Append): Promise<number> {
    const source = new ClientReader(append.chunks, either(append.signal, append.lost));
    try {
      let { base, offset } = append;
      for (;;) {
        const written = await this.#writeParts(uploadId, { ...append, base, offset }, source);
        append.filling.clear();
        offset = written.sizeBytes;
        if (written.isWhole || !(await source.hasMore())) return offset;
        this.#wholeObjects.delete(uploadId);
        // Parts as many as there may be are joined, and become few and large ones of the next multipart upload.
        base = await append.staging.baseAt(uploadId, offset, append.filling);
      }
    } finally {
      source.close();
    }
  }

  /**
   * Takes from the source until it ends or fails, or its parts are as many as a multipart upload takes, or it is slow and
   * others want the memory that it holds.
   */
  async #writeParts(
    uploadId: UploadId,
    append: Append,
    source: ClientReader,
  ): Promise<{ readonly sizeBytes: number; readonly isWhole: boolean }> {
    const since = Date.now();
    const writer = this.#writer(uploadId, append, since);
    let isWhole = false;
    let failure: { readonly error: unknown } | null = null;
    try {
      while (!isWhole && writer.partsBegun < this.#partsMax - 1) {
        const next = await source.next();
        if (next === null) isWhole = true;
        else if (next !== 'slow') await writer.write(next);
        else if (this.memory.isWanted && append.filling.heldBytes > 0) break;
      }
    } catch (error) {
      failure = { error };
    }
    const written = await writer.settle();
    await append.dropped;
    const sizeBytes = await this.#note(uploadId, { ...append, since }, written);
    if (failure !== null) throw failure.error;
    if (written.error !== null) throw written.error;
    return { sizeBytes, isWhole };
  }

  #writer(
    uploadId: UploadId,
    { base, offset, filling, objects, staging, dropped }: Append,
    since: number,
  ): PartWriter {
    const key = this.layout.blobKey(uploadId);
    return new PartWriter(
      {
        objects,
        filling,
        key,
        partBytes: this.#config.partBytes,
        concurrency: this.#config.uploadConcurrency,
        begin: async () => {
          await dropped;
          // What an earlier beginning of this upload left there is none of it.
          if (offset === 0) await objects.deleteOlder(key, since);
          return await staging.begin(uploadId);
        },
      },
      base,
    );
  }

  /** Makes what was written what is staged; resolves with its size. */
  async #note(
    uploadId: UploadId,
    { base, since, objects, staging }: Append & { readonly since: number },
    { multipartId, parts, tail, error }: WrittenParts,
  ): Promise<number> {
    if (isAbsent(error)) {
      await staging.forget(uploadId);
      return 0;
    }
    if (multipartId !== null && (parts.length > 0 || error !== null)) {
      await staging.writeState(uploadId, { multipartId, parts }, tail);
      return partsBytes(parts) + tail.sizeBytes;
    }
    await objects.putBlob(this.layout.blobKey(uploadId), tail, { over: base.replaces, since });
    // An unused multipart upload would still have to be dropped.
    if (multipartId === null) this.#wholeObjects.set(uploadId, tail.sizeBytes);
    return tail.sizeBytes;
  }

  async #stat(uploadId: UploadId): Promise<StoredBlob | null> {
    const object = await this.objects.head(this.layout.blobKey(uploadId));
    if (object === null) return null;
    const { sizeBytes, modifiedAt } = object;
    return { location: locationOf(uploadId), uploadId, sizeBytes, modifiedAt };
  }

  async #body(uploadId: UploadId, range: ByteRange | null, signal: AbortSignal): Promise<BlobBody | null> {
    signal.throwIfAborted();
    const opened = await this.objects.open(this.layout.blobKey(uploadId), range, signal);
    if (opened === null) return null;
    return new ObjectBody(opened.stream, {
      ...opened,
      signal,
      idleSecondsMax: this.#config.requestSecondsMax,
    });
  }
}

interface Append {
  readonly base: Base;
  readonly offset: number;
  readonly filling: Filling;
  /** They ask for nothing more once `lost` has aborted. */
  readonly objects: Objects;
  readonly staging: Staging;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
  readonly lost: AbortSignal | undefined;
  /** What an earlier beginning staged in parts is gone when it resolves. */
  readonly dropped?: Promise<unknown>;
}

function nextCursor(found: readonly { readonly key: string }[], limit: number, below: string): string | null {
  const last = found.at(-1);
  return last === undefined || found.length < limit ? null : last.key.slice(below.length);
}

/** Remembers what its source threw. */
class WatchedSource implements AsyncIterable<Uint8Array> {
  failure: { readonly error: unknown } | null = null;
  readonly #chunks: AsyncIterable<Uint8Array>;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const chunk of this.#chunks) yield chunk;
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }
}
