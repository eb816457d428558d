import type { Digest } from '../../oci/digest.ts';
import { either } from '../../std/either.ts';
import { Unavailable } from '../../std/unavailable.ts';
import { untilAborted } from '../../std/until-aborted.ts';
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
import { parseUploadId } from '../upload-id.ts';

/** Bytes of one piece of a body: as large as what the file system driver hands out. */
const CHUNK_BYTES = 512 * 1024;

interface Held {
  readonly pieces: readonly Uint8Array[];
  readonly sizeBytes: number;
  readonly modifiedAt: number;
}

/**
 * For tests and trials: everything is gone when the process ends. Holds at most `bytesMax`, staged bytes included. A blob
 * stays at the place of its upload, as in an object store.
 */
export async function openMemoryBlobStore(options: { readonly bytesMax: number }): Promise<BlobStore> {
  return new MemoryBlobStore(options.bytesMax);
}

class MemoryBlobStore implements BlobStore {
  readonly driver = 'memory';
  readonly presign = null;
  readonly upkeep = [];
  readonly space = (): Promise<FreeSpace> =>
    Promise.resolve({ freeBytes: this.#bytesMax - this.#bytesHeld, totalBytes: this.#bytesMax });
  readonly #bytesMax: number;
  #bytesHeld = 0;
  readonly #uploads = new Map<string, Held>();
  readonly #blobs = new Map<string, Held>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  async append(
    uploadId: UploadId,
    offset: number,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    lost?: AbortSignal,
  ): Promise<number> {
    lost?.throwIfAborted();
    const staged = this.#uploads.get(uploadId) ?? held([]);
    if (offset > staged.sizeBytes) {
      throw new RangeError(`offset ${offset} is beyond the ${staged.sizeBytes} bytes staged`);
    }
    const pieces = offset === 0 ? [] : [...cut(staged.pieces, { start: 0, end: offset - 1 })];
    let sizeBytes = offset;
    this.#put(this.#uploads, uploadId, held(pieces));
    for await (const chunk of untilAborted(chunks, either(signal, lost))) {
      if (chunk.byteLength === 0) continue;
      if (chunk.byteLength > this.#bytesMax - this.#bytesHeld) throw full();
      // A discard that overtakes the append wins.
      if (!this.#uploads.has(uploadId)) throw new RangeError('the upload is not staged');
      pieces.push(Uint8Array.from(chunk));
      sizeBytes += chunk.byteLength;
      this.#put(this.#uploads, uploadId, { pieces, sizeBytes, modifiedAt: Date.now() });
    }
    return sizeBytes;
  }

  async staged(uploadId: UploadId): Promise<StagedUpload | null> {
    const upload = this.#uploads.get(uploadId);
    return upload === undefined ? null : describeUpload(uploadId, upload);
  }

  async readStaged(uploadId: UploadId, signal: AbortSignal): Promise<BlobBody | null> {
    signal.throwIfAborted();
    const upload = this.#uploads.get(uploadId);
    return upload === undefined ? null : new MemoryBody(upload, null, signal);
  }

  async commit(uploadId: UploadId, digest: Digest, sizeBytes: number): Promise<StoredBlob | null> {
    const upload = this.#uploads.get(uploadId);
    if (upload === undefined || upload.sizeBytes < sizeBytes) return null;
    const location = this.locate(uploadId, digest);
    this.#drop(this.#uploads, uploadId);
    const pieces = sizeBytes === 0 ? [] : [...cut(upload.pieces, { start: 0, end: sizeBytes - 1 })];
    this.#put(this.#blobs, location, held(pieces));
    return await this.stat(location);
  }

  async discard(uploadId: UploadId): Promise<void> {
    this.#drop(this.#uploads, uploadId);
  }

  async withdraw(uploadId: UploadId): Promise<void> {
    this.#drop(this.#uploads, uploadId);
    this.#drop(this.#blobs, uploadId);
  }

  async open(location: BlobLocation, range: ByteRange | null, signal: AbortSignal): Promise<BlobBody | null> {
    signal.throwIfAborted();
    const blob = this.#blobs.get(location);
    return blob === undefined ? null : new MemoryBody(blob, range, signal);
  }

  async stat(location: BlobLocation): Promise<StoredBlob | null> {
    const blob = this.#blobs.get(location);
    return blob === undefined ? null : describeBlob(location, blob);
  }

  locate(uploadId: UploadId, _digest: Digest): BlobLocation {
    return uploadId as string as BlobLocation;
  }

  owns(location: BlobLocation): boolean {
    return parseUploadId(location) !== null;
  }

  async delete(location: BlobLocation): Promise<void> {
    this.#drop(this.#blobs, location);
  }

  async list(cursor: string | null, limit: number): Promise<Page<StoredBlob>> {
    return page(this.#blobs, { cursor, limit }, (name, blob) => describeBlob(name as BlobLocation, blob));
  }

  async listStaged(cursor: string | null, limit: number): Promise<Page<StagedUpload>> {
    return page(this.#uploads, { cursor, limit }, (name, upload) => describeUpload(name as UploadId, upload));
  }

  async probe(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#bytesHeld >= this.#bytesMax) throw full();
  }

  async close(): Promise<void> {
    this.#uploads.clear();
    this.#blobs.clear();
    this.#bytesHeld = 0;
  }

  #put(map: Map<string, Held>, name: string, value: Held): void {
    this.#bytesHeld += value.sizeBytes - (map.get(name)?.sizeBytes ?? 0);
    map.set(name, value);
  }

  #drop(map: Map<string, Held>, name: string): void {
    this.#bytesHeld -= map.get(name)?.sizeBytes ?? 0;
    map.delete(name);
  }
}

class MemoryBody implements BlobBody {
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  #closed = false;

  constructor(blob: Held, range: ByteRange | null, signal: AbortSignal) {
    this.sizeBytes = blob.sizeBytes;
    this.chunks = this.#read(blob, range ?? { start: 0, end: blob.sizeBytes - 1 }, signal);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async *#read(blob: Held, range: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    for (const piece of cut(blob.pieces, range)) {
      for (let start = 0; start < piece.byteLength; start += CHUNK_BYTES) {
        signal.throwIfAborted();
        if (this.#closed) throw new Error('the body was closed before its end');
        // A copy, as a file would give one: the consumer may do with it what it likes.
        yield piece.slice(start, start + CHUNK_BYTES);
      }
    }
    if (range.end >= blob.sizeBytes) {
      throw new Unavailable('blob store', 'a blob ends before the range asked for', { retryable: false });
    }
    signal.throwIfAborted();
  }
}

function held(pieces: readonly Uint8Array[]): Held {
  return {
    pieces,
    sizeBytes: pieces.reduce((sum, piece) => sum + piece.byteLength, 0),
    modifiedAt: Date.now(),
  };
}

function* cut(pieces: readonly Uint8Array[], range: ByteRange): Generator<Uint8Array, void, void> {
  let position = 0;
  for (const piece of pieces) {
    const from = Math.max(0, range.start - position);
    const to = Math.min(piece.byteLength, range.end + 1 - position);
    if (from < to) yield piece.subarray(from, to);
    position += piece.byteLength;
    if (position > range.end) return;
  }
}

function page<T>(
  map: ReadonlyMap<string, Held>,
  wanted: { readonly cursor: string | null; readonly limit: number },
  describe: (name: string, value: Held) => T,
): Page<T> {
  const after = wanted.cursor ?? '';
  const rest = [...map].filter(([name]) => name > after).sort(([a], [b]) => (a < b ? -1 : 1));
  const shown = rest.slice(0, wanted.limit);
  return {
    entries: shown.map(([name, value]) => describe(name, value)),
    cursor: rest.length > shown.length ? (shown.at(-1)?.[0] ?? null) : null,
  };
}

function describeBlob(location: BlobLocation, blob: Held): StoredBlob {
  const uploadId = location as string as UploadId;
  return { location, uploadId, sizeBytes: blob.sizeBytes, modifiedAt: blob.modifiedAt };
}

function describeUpload(uploadId: UploadId, upload: Held): StagedUpload {
  return { uploadId, sizeBytes: upload.sizeBytes, modifiedAt: upload.modifiedAt };
}

function full(): Unavailable {
  return new Unavailable('blob store', 'the memory set aside for blobs is full', {
    retryable: true,
    full: true,
  });
}
