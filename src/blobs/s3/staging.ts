import type { BlobStore, UploadId } from '../blob-store.ts';
import { isAbsent, statusOf, unavailable } from './failures.ts';
import type { Layout } from './layout.ts';
import { type Objects, type Pieces, piecesOf } from './objects.ts';
import {
  decodeState,
  encodeHead,
  type Part,
  partsBytes,
  SIZE_METADATA,
  type UploadState,
} from './upload-state.ts';

/** S3's own limit, of one part that is copied. */
export const COPY_BYTES_MAX = 5 * 1024 ** 3;

/** Bytes before the offset at which an upload goes on, in the form in which they go on. */
export interface Base {
  readonly multipartId: string | null;
  readonly parts: readonly Part[];
  /** Behind the parts, smaller than one. */
  readonly tail: Uint8Array;
  /** ETag of the object at the key, which the new bytes replace; `null` when there is none. */
  readonly replaces: string | null;
}

export const NOTHING: Base = { multipartId: null, parts: [], tail: new Uint8Array(0), replaces: null };

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

  constructor(options: StagingOptions) {
    this.#options = options;
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

  async readState(uploadId: UploadId): Promise<UploadState | null> {
    const key = this.#options.layout.stateKey(uploadId);
    const read = await this.#options.objects.read(key);
    if (read === null) return null;
    const state = decodeState(read.bytes);
    if (state === null) throw unavailable(`the object ${key} is not what this store wrote`, false);
    return state;
  }

  async writeState(uploadId: UploadId, state: Omit<UploadState, 'tail'>, tail: Pieces): Promise<void> {
    const { objects, layout } = this.#options;
    const head = encodeHead(state);
    const size = partsBytes(state.parts) + tail.sizeBytes;
    await objects.putState(layout.stateKey(uploadId), {
      body: { pieces: [head, ...tail.pieces], sizeBytes: head.byteLength + tail.sizeBytes },
      metadata: { [SIZE_METADATA]: isEmpty(state, tail.sizeBytes) ? 'none' : String(size) },
    });
  }

  /** A new multipart upload, noted before anything goes into it. What is staged so far stays where it is. */
  async begin(uploadId: UploadId): Promise<string> {
    const { objects, layout } = this.#options;
    const key = layout.blobKey(uploadId);
    const multipartId = await objects.createMultipart(key);
    try {
      await this.writeState(uploadId, { multipartId, parts: [] }, { pieces: [], sizeBytes: 0 });
    } catch (error) {
      await objects.abortMultipart(key, multipartId).catch(() => undefined);
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

  /** What an append at `offset` goes on from. `RangeError` when fewer bytes than that are staged. */
  async baseAt(uploadId: UploadId, offset: number): Promise<Base> {
    const state = await this.readState(uploadId);
    if (state === null || isEmpty(state, state.tail.byteLength)) {
      return await this.#baseFromObject(uploadId, offset, state?.multipartId ?? null);
    }
    requireStaged(offset, partsBytes(state.parts) + state.tail.byteLength);
    const cut = cutAt(state, offset);
    if (cut === null) {
      await this.join(uploadId, state);
      return await this.#baseFromObject(uploadId, offset, null);
    }
    if (cut.parts.length < state.parts.length) {
      // Before those parts are written over: until then this state and its parts are one.
      await this.writeState(
        uploadId,
        { multipartId: state.multipartId, parts: cut.parts },
        piecesOf(cut.tail),
      );
    }
    if (cut.parts.length < this.#options.partsMax) {
      return { multipartId: state.multipartId, ...cut, replaces: null };
    }
    await this.join(uploadId, state);
    return await this.#baseFromObject(uploadId, offset, null);
  }

  /** Makes the object of the parts and the tail; what was staged is staged still, as the object at the key. */
  async join(uploadId: UploadId, state: UploadState): Promise<void> {
    const { objects, layout } = this.#options;
    const key = layout.blobKey(uploadId);
    const { multipartId, tail } = state;
    const parts = [...state.parts];
    try {
      if (tail.byteLength > 0) {
        const place = { key, multipartId, number: parts.length + 1 };
        parts.push(await objects.uploadPart(place, piecesOf(tail)));
      }
      await objects.completeMultipart(key, multipartId, parts);
    } catch (error) {
      // Also what an attempt is answered whose forerunner succeeded unheard.
      const isGone = isAbsent(error) || statusOf(error) === 400;
      if (!isGone) throw error;
      await this.#requireJoined(uploadId, partsBytes(state.parts) + tail.byteLength, error);
    }
    await objects.delete(layout.stateKey(uploadId));
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

  async #baseFromObject(uploadId: UploadId, offset: number, unused: string | null): Promise<Base> {
    const { objects, layout, partBytes } = this.#options;
    const key = layout.blobKey(uploadId);
    const object = await objects.head(key);
    requireStaged(offset, object?.sizeBytes ?? (unused === null ? -1 : 0));
    if (object === null || offset === 0)
      return { ...NOTHING, multipartId: unused, replaces: object?.etag ?? null };
    if (offset <= partBytes) {
      const read = await objects.read(key, { start: 0, end: offset - 1 });
      if (read === null) throw new RangeError('the upload is not staged');
      const { bytes, etag } = read;
      // What is dropped is dropped at once: should what comes now not arrive, it must not be taken for it.
      const isCut = offset < object.sizeBytes;
      const replaces = isCut
        ? await objects.putBlob(key, piecesOf(bytes), { over: etag, since: Date.now() })
        : etag;
      return { ...NOTHING, multipartId: unused, tail: bytes, replaces };
    }
    return await this.#baseByCopy(uploadId, { offset, sizeBytes: object.sizeBytes, unused });
  }

  /** The service copies what is joined into a new multipart upload: few and large parts, and no byte comes here. */
  async #baseByCopy(
    uploadId: UploadId,
    from: { readonly offset: number; readonly sizeBytes: number; readonly unused: string | null },
  ): Promise<Base> {
    const { objects, layout, copyBytesMax } = this.#options;
    const key = layout.blobKey(uploadId);
    const multipartId = from.unused ?? (await this.begin(uploadId));
    const count = Math.ceil(from.offset / copyBytesMax);
    const parts: Part[] = [];
    for (let index = 0; index < count; index++) {
      const start = Math.floor((from.offset * index) / count);
      const end = Math.floor((from.offset * (index + 1)) / count) - 1;
      parts.push(await objects.copyPart({ key, multipartId, number: index + 1 }, { start, end }));
    }
    await this.writeState(uploadId, { multipartId, parts }, { pieces: [], sizeBytes: 0 });
    // Bytes beyond the offset that are replaced must not be found once the state is gone.
    if (from.offset < from.sizeBytes) await objects.delete(key);
    return { ...NOTHING, multipartId, parts };
  }
}

function isEmpty(state: Pick<UploadState, 'parts'>, tailBytes: number): boolean {
  return state.parts.length === 0 && tailBytes === 0;
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
): { readonly parts: readonly Part[]; readonly tail: Uint8Array } | null {
  let end = 0;
  for (const [index, part] of state.parts.entries()) {
    if (end === offset) return { parts: state.parts.slice(0, index), tail: new Uint8Array(0) };
    end += part.sizeBytes;
  }
  if (offset < end) return null;
  return { parts: state.parts, tail: state.tail.subarray(0, offset - end) };
}
