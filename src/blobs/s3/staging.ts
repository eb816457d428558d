import type { BlobStore, UploadId } from '../blob-store.ts';
import { isAbsent, statusOf, unavailable } from './failures.ts';
import type { Layout } from './layout.ts';
import type { ObjectFacts, ObjectPart, Objects, Pieces } from './objects.ts';
import type { Filling } from './upload-memory.ts';
import {
  decodeHead,
  encodeHead,
  headBytesIn,
  type Part,
  SIZE_METADATA,
  stagedBytes,
  type UploadState,
} from './upload-state.ts';

/** S3's own limit, of one part that is copied. */
export const COPY_BYTES_MAX = 5 * 1024 ** 3;

/** Bytes at which the head of a state ends, hardly ever later. */
const HEAD_BYTES = 64 * 1024;
/** More than the head of a state with as many parts as S3 takes. */
const HEAD_BYTES_MAX = 4 * 1024 * 1024;

/** A state as it stands in the bucket. */
export interface FoundState extends UploadState {
  /** Before the tail. */
  readonly headBytes: number;
  /** Bytes of the tail that came with the head. */
  readonly tailStart: Buffer;
  readonly etag: string;
}

/**
 * Bytes before the offset at which an upload goes on, in the form in which they go on. What stands behind the parts, at most
 * as much as one, is in the upload's filling.
 */
export interface Base {
  readonly multipartId: string | null;
  readonly parts: readonly Part[];
  /** ETag of the object at the key, which the new bytes replace; `null` when there is none. */
  readonly replaces: string | null;
}

export const NOTHING: Base = { multipartId: null, parts: [], replaces: null };

const NO_BYTES: Pieces = { pieces: [], sizeBytes: 0 };

export interface StagingOptions {
  readonly objects: Objects;
  readonly layout: Layout;
  readonly partBytes: number;
  /** Parts of one multipart upload, before what they are is joined to go on as few. */
  readonly partsMax: number;
  /** Bytes that the service copies into one part. */
  readonly copyBytesMax: number;
}

/**
 * The two forms that an open upload has in the bucket, and the ways from one to the other.
 *
 * Small: one object at the key. Large: a multipart upload at the key and a state object that names its parts. The state is
 * written when the multipart upload is made, so that it can always be found and aborted, and at the end of each append.
 */
export class Staging {
  readonly #options: StagingOptions;
  /** For what is nobody else's, whoever has the upload. */
  readonly #own: Objects;

  constructor(options: StagingOptions, own = options.objects) {
    this.#options = options;
    this.#own = own;
  }

  /** The same, for one who may lose the upload (see `Objects.under`). */
  under(objects: Objects): Staging {
    return new Staging({ ...this.#options, objects }, this.#own);
  }

  async look(uploadId: UploadId): Promise<Awaited<ReturnType<BlobStore['staged']>>> {
    const { objects, layout } = this.#options;
    const [state, object] = await Promise.all([
      objects.head(layout.stateKey(uploadId)),
      objects.head(layout.blobKey(uploadId)),
    ]);
    const size = Number(state?.metadata[SIZE_METADATA] ?? Number.NaN);
    if (state !== null && Number.isSafeInteger(size)) {
      return { uploadId, sizeBytes: size, modifiedAt: state.modifiedAt };
    }
    if (object !== null) return { uploadId, sizeBytes: object.sizeBytes, modifiedAt: object.modifiedAt };
    return state === null ? null : { uploadId, sizeBytes: 0, modifiedAt: state.modifiedAt };
  }

  /** Reads what the state names, and none of its tail. */
  async readState(uploadId: UploadId): Promise<FoundState | null> {
    const key = this.#options.layout.stateKey(uploadId);
    for (let bytes = HEAD_BYTES; ; bytes *= 8) {
      const found = await this.#options.objects.readStart(key, bytes);
      if (found === null) return null;
      const { start, etag, sizeBytes } = found;
      const headBytes = headBytesIn(start);
      if (headBytes === null && sizeBytes > bytes && bytes < HEAD_BYTES_MAX) continue;
      const head = headBytes === null ? null : decodeHead(start.subarray(0, headBytes));
      if (headBytes === null || head === null) {
        throw unavailable(`the object ${key} is not what this store wrote`, false);
      }
      const tailStart = bytes === HEAD_BYTES ? start.subarray(headBytes) : Buffer.alloc(0);
      return { ...head, headBytes, tailBytes: sizeBytes - headBytes, tailStart, etag };
    }
  }

  async writeState(uploadId: UploadId, state: Omit<UploadState, 'tailBytes'>, tail: Pieces): Promise<void> {
    const { objects, layout } = this.#options;
    const head = encodeHead(state);
    const size = stagedBytes({ ...state, tailBytes: tail.sizeBytes });
    await objects.putState(layout.stateKey(uploadId), {
      body: { pieces: [head, ...tail.pieces], sizeBytes: head.byteLength + tail.sizeBytes },
      metadata: { [SIZE_METADATA]: size === 0 ? 'none' : String(size) },
    });
  }

  /** A new multipart upload, noted before anything goes into it. What is staged so far stays where it is. */
  async begin(uploadId: UploadId): Promise<string> {
    const { objects, layout } = this.#options;
    const key = layout.blobKey(uploadId);
    const multipartId = await objects.createMultipart(key);
    try {
      await this.writeState(uploadId, { multipartId, parts: [] }, NO_BYTES);
    } catch (error) {
      await this.#own.abortMultipart(key, multipartId).catch(() => undefined);
      throw error;
    }
    return multipartId;
  }

  /** Drops the multipart upload and its state; the object at the key stays. */
  async drop(uploadId: UploadId): Promise<void> {
    const { objects, layout } = this.#options;
    const state = await this.readState(uploadId);
    if (state === null) return;
    await objects.abortMultipart(layout.blobKey(uploadId), state.multipartId);
    await objects.delete(layout.stateKey(uploadId));
  }

  /** What an append at `offset` goes on from, with `filling`, empty before. `RangeError` when fewer bytes than that are staged. */
  async baseAt(uploadId: UploadId, offset: number, filling: Filling): Promise<Base> {
    const { partBytes, partsMax } = this.#options;
    const state = await this.readState(uploadId);
    if (state === null || stagedBytes(state) === 0) {
      return await this.#baseFromObject(uploadId, { offset, unused: state?.multipartId ?? null, filling });
    }
    requireStaged(offset, stagedBytes(state));
    const cut = cutAt(state, offset);
    if (cut === null || cut.parts.length >= partsMax || cut.tailBytes > partBytes) {
      await this.join(uploadId, state, filling);
      return await this.#baseFromObject(uploadId, { offset, unused: null, filling });
    }
    const { multipartId } = state;
    const { parts, tailBytes } = cut;
    if (parts.length < state.parts.length) {
      // Before those parts are written over: until then this state and its parts are one.
      await this.writeState(uploadId, { multipartId, parts }, NO_BYTES);
    }
    await filling.reserve(tailBytes);
    await this.#readTail(uploadId, { ...state, tailBytes }, filling);
    return { multipartId, parts, replaces: null };
  }

  /**
   * Makes the object of the parts and the tail; what was staged is staged still, as the object at the key. The filling is
   * empty before and after it.
   */
  async join(uploadId: UploadId, state: FoundState, filling: Filling): Promise<void> {
    const { objects, layout } = this.#options;
    const key = layout.blobKey(uploadId);
    const { multipartId } = state;
    try {
      const parts = [...state.parts, ...(await this.#tailParts(uploadId, state, filling))];
      await objects.completeMultipart(key, multipartId, parts);
    } catch (error) {
      // Also what an attempt is answered whose forerunner succeeded unheard.
      const isGone = isAbsent(error) || statusOf(error) === 400;
      if (!isGone) throw error;
      await this.#requireJoined(uploadId, stagedBytes(state), error);
    } finally {
      filling.clear();
    }
    await objects.delete(layout.stateKey(uploadId));
  }

  /** The tail as the last part, where there is one. */
  async #tailParts(uploadId: UploadId, state: FoundState, filling: Filling): Promise<readonly Part[]> {
    const { objects, layout, partBytes } = this.#options;
    const { multipartId, parts, tailBytes, headBytes: start, etag } = state;
    if (tailBytes === 0) return [];
    const place = { key: layout.blobKey(uploadId), multipartId, number: parts.length + 1 };
    if (tailBytes > partBytes) {
      const range = { start, end: start + tailBytes - 1 };
      return [await objects.copyPart(place, { key: layout.stateKey(uploadId), etag, range })];
    }
    await filling.reserve(tailBytes, { isEnough: true });
    await this.#readTail(uploadId, state, filling);
    return [await objects.uploadPart(place, filling.body)];
  }

  /** Into memory that is reserved before the bytes are asked for: no answer has to wait for it. */
  async #readTail(uploadId: UploadId, state: FoundState, filling: Filling): Promise<void> {
    const { headBytes: start, tailBytes, tailStart, etag } = state;
    if (tailBytes <= tailStart.byteLength) await filling.write(tailStart.subarray(0, tailBytes));
    else {
      const range = { start, end: start + tailBytes - 1 };
      await this.#read({ key: this.#options.layout.stateKey(uploadId), etag, range }, filling);
    }
  }

  async #read(part: ObjectPart, filling: Filling): Promise<void> {
    await this.#options.objects.read(part, async (chunks) => {
      filling.rewind();
      for await (const chunk of chunks) await filling.write(chunk);
    });
  }

  async #requireJoined(uploadId: UploadId, sizeBytes: number, cause: unknown): Promise<void> {
    const { objects, layout } = this.#options;
    const object = await objects.head(layout.blobKey(uploadId));
    if (object?.sizeBytes === sizeBytes) return;
    if (isAbsent(cause)) await this.forget(uploadId);
    throw cause;
  }

  /** The multipart upload is gone, whoever aborted it: what the state names is staged no more. */
  async forget(uploadId: UploadId): Promise<void> {
    await this.#options.objects.delete(this.#options.layout.stateKey(uploadId));
  }

  async #baseFromObject(uploadId: UploadId, { offset, unused, filling }: JoinedBase): Promise<Base> {
    const { objects, layout, partBytes } = this.#options;
    const key = layout.blobKey(uploadId);
    const object = await objects.head(key);
    requireStaged(offset, object?.sizeBytes ?? (unused === null ? -1 : 0));
    const base = { ...NOTHING, multipartId: unused, replaces: object?.etag ?? null };
    if (object === null || offset === 0) return base;
    if (offset > partBytes) return await this.#baseByCopy(uploadId, { offset, object, unused });
    const { etag } = object;
    await filling.reserve(offset);
    await this.#read({ key, etag, range: { start: 0, end: offset - 1 } }, filling);
    if (offset === object.sizeBytes) return base;
    // What is dropped is dropped at once: should what comes now not arrive, it must not be taken for it.
    const replaces = await objects.putBlob(key, filling.body, { over: etag, since: Date.now() });
    return { ...base, replaces };
  }

  /** The service copies what is joined into a new multipart upload: few and large parts, and no byte comes here. */
  async #baseByCopy(
    uploadId: UploadId,
    from: { readonly offset: number; readonly object: ObjectFacts; readonly unused: string | null },
  ): Promise<Base> {
    const { objects, layout, copyBytesMax, partsMax } = this.#options;
    const key = layout.blobKey(uploadId);
    const multipartId = from.unused ?? (await this.begin(uploadId));
    const count = Math.ceil(from.offset / copyBytesMax);
    if (count >= partsMax) throw new RangeError('an upload has no parts that are so large');
    const parts: Part[] = [];
    for (let index = 0; index < count; index++) {
      const start = Math.floor((from.offset * index) / count);
      const end = Math.floor((from.offset * (index + 1)) / count) - 1;
      const place = { key, multipartId, number: index + 1 };
      parts.push(await objects.copyPart(place, { key, etag: from.object.etag, range: { start, end } }));
    }
    await this.writeState(uploadId, { multipartId, parts }, NO_BYTES);
    // Bytes beyond the offset that are replaced must not be found once the state is gone.
    if (from.offset < from.object.sizeBytes) await objects.delete(key);
    return { ...NOTHING, multipartId, parts };
  }
}

interface JoinedBase {
  readonly offset: number;
  /** A multipart upload that has no parts yet. */
  readonly unused: string | null;
  readonly filling: Filling;
}

function requireStaged(offset: number, sizeBytes: number): void {
  if (sizeBytes < 0 && offset > 0) throw new RangeError('the upload is not staged');
  if (offset > Math.max(0, sizeBytes)) {
    throw new RangeError(`offset ${offset} is beyond the ${sizeBytes} bytes staged`);
  }
}

/** Whole parts and a tail before `offset`; `null` when it is inside of a part. */
export function cutAt(
  state: UploadState,
  offset: number,
): { readonly parts: readonly Part[]; readonly tailBytes: number } | null {
  let end = 0;
  for (const [index, part] of state.parts.entries()) {
    if (end === offset) return { parts: state.parts.slice(0, index), tailBytes: 0 };
    end += part.sizeBytes;
  }
  return offset < end ? null : { parts: state.parts, tailBytes: offset - end };
}
