import type { BlobStore, UploadId } from '../blobs/blob-store.ts';
import { nothing } from '../blobs/body-bytes.ts';
import type { Upload } from '../meta/meta-store.ts';
import type { Digest, DigestAlgorithm } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import { RunningDigest, type RunningDigests } from './running-digests.ts';
import type { SpaceReserve } from './space-reserve.ts';

/** Bytes after which a body of any length asks again whether there is room. */
const spaceCheckEveryBytes = 16 * 1024 * 1024;
const neverAborted = new AbortController().signal;

/** The bytes of one request on their way into an upload. */
export interface Incoming {
  /** A chunk is the reader's until it asks for the next one. Aborting the signal ends them by its reason. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Ends the chunks early: those that have arrived are still given, then the reason is thrown. */
  readonly stop: (reason: Error) => void;
  /** Null when the client did not say. */
  readonly lengthBytes: number | null;
  /** The body is known to be empty: nothing is read. */
  readonly empty: boolean;
  /** `Content-Range` of the chunk, where the client sent one. */
  readonly range: { readonly start: number; readonly end: number } | null;
  readonly signal: AbortSignal;
}

export interface ReceiveDeps {
  readonly blobs: BlobStore;
  readonly metrics: Pick<Metrics, 'uploadStarted' | 'uploadEnded'>;
  readonly running: RunningDigests;
  readonly space: SpaceReserve;
  readonly blobBytesMax: number;
}

/** Where the upload stands after a request, failed (`error`) or not. */
export interface Receipt {
  readonly offsetBytes: number;
  /** The hash over exactly `offsetBytes`; null when this process does not have it. */
  readonly running: RunningDigest | null;
  /** The digest over exactly `offsetBytes`, where it was read or compared. */
  readonly verified: Digest | null;
  readonly error: Error | null;
}

/**
 * Appends the body at the offset of the upload. Does not throw for what goes wrong on the way: the caller has to write
 * down where the upload stands before the client hears of it.
 */
export async function receive(
  deps: ReceiveDeps,
  request: {
    readonly upload: Upload;
    readonly incoming: Incoming;
    /** Aborts when another request may write to the upload. */
    readonly lost: AbortSignal;
  },
): Promise<Receipt> {
  const { upload, incoming, lost } = request;
  const { offset, running } = await resume(deps, request);
  try {
    checkChunk(deps, { offset, incoming });
    if (incoming.empty) {
      // An upload of nothing has to exist before it can become the empty blob.
      if (offset === 0) await deps.blobs.append(upload.id, 0, nothing(), incoming.signal, lost);
      return { offsetBytes: offset, running, verified: null, error: null };
    }
    await deps.space.require(incoming.lengthBytes ?? 0);
  } catch (error) {
    return { offsetBytes: offset, running, verified: null, error: toError(error) };
  }
  deps.metrics.uploadStarted();
  const stop = (): void => incoming.stop(toError(incoming.signal.reason));
  try {
    if (incoming.signal.aborted) stop();
    else incoming.signal.addEventListener('abort', stop, { once: true });
    const chunks = metered(deps, { chunks: incoming.chunks, offset, running });
    // The body ends by itself when the signal aborts, and only it can give what it holds before that.
    const size = await deps.blobs.append(upload.id, offset, chunks, neverAborted, lost);
    return finishChunk(incoming, { offset, size, running });
  } catch (error) {
    return { ...(await standing(deps, { id: upload.id, offset, running })), error: toError(error) };
  } finally {
    incoming.signal.removeEventListener('abort', stop);
    deps.metrics.uploadEnded();
  }
}

/**
 * Reads the upload's staged bytes again; null when they are gone or fewer than it has. There may be more, left by a request
 * that crashed: the commit drops them.
 */
export async function stagedDigest(
  deps: Pick<ReceiveDeps, 'blobs'>,
  request: {
    readonly id: UploadId;
    readonly algorithm: DigestAlgorithm;
    readonly sizeBytes: number;
    readonly signal: AbortSignal;
  },
): Promise<Digest | null> {
  const body = await deps.blobs.readStaged(request.id, request.signal);
  if (body === null) return null;
  try {
    const running = new RunningDigest(request.algorithm);
    for await (const chunk of body.chunks) {
      request.signal.throwIfAborted();
      running.update(chunk.subarray(0, request.sizeBytes - running.bytes));
      if (running.bytes === request.sizeBytes) break;
    }
    return running.bytes === request.sizeBytes ? running.digest() : null;
  } finally {
    await body.close();
  }
}

/** distribution-spec, "Pushing a blob in chunks": chunks come in order, the first byte being the offset. */
function checkChunk(
  deps: ReceiveDeps,
  chunk: { readonly offset: number; readonly incoming: Incoming },
): void {
  const { offset, incoming } = chunk;
  const { range, lengthBytes } = incoming;
  if (range !== null) {
    if (range.start !== offset) {
      throw new RegistryError(
        'CHUNK_OUT_OF_ORDER',
        `the chunk starts at byte ${range.start}, the upload goes on at byte ${offset}`,
        { detail: { offset } },
      );
    }
    const announced = range.end - range.start + 1;
    if (incoming.empty || (lengthBytes !== null && lengthBytes !== announced)) {
      throw new RegistryError('SIZE_INVALID', 'Content-Length and Content-Range do not agree');
    }
  }
  const length = lengthBytes ?? (range === null ? 0 : range.end - range.start + 1);
  if (offset + length > deps.blobBytesMax) throw tooLarge(deps.blobBytesMax);
}

/**
 * Where the upload really stands. The row may be ahead of the bytes (power loss) or behind them (a crash in a request): the
 * smaller one is true, and what is beyond is dropped by the next append or the commit. Nobody looks where nothing was
 * received yet, or where nothing is to come and this process received the rest itself: the commit says how much it must be.
 */
async function resume(
  deps: ReceiveDeps,
  request: { readonly upload: Upload; readonly incoming: Incoming },
): Promise<{ readonly offset: number; readonly running: RunningDigest | null }> {
  const { id, algorithm, offsetBytes } = request.upload;
  const running = deps.running.take(request.upload);
  const isKnown = offsetBytes === 0 || (request.incoming.empty && running !== null);
  const staged = isKnown ? null : await deps.blobs.staged(id);
  const offset = isKnown ? offsetBytes : Math.min(offsetBytes, staged?.sizeBytes ?? 0);
  if (offset === offsetBytes) return { offset, running };
  return { offset, running: offset === 0 ? new RunningDigest(algorithm) : null };
}

async function* metered(
  deps: ReceiveDeps,
  body: {
    readonly chunks: AsyncIterable<Uint8Array>;
    readonly offset: number;
    readonly running: RunningDigest | null;
  },
): AsyncIterable<Uint8Array> {
  let size = body.offset;
  let checkAt = size + spaceCheckEveryBytes;
  for await (const chunk of body.chunks) {
    size += chunk.byteLength;
    if (size > deps.blobBytesMax) throw tooLarge(deps.blobBytesMax);
    if (size >= checkAt) {
      await deps.space.require(0);
      checkAt = size + spaceCheckEveryBytes;
    }
    body.running?.update(chunk);
    yield chunk;
  }
}

function finishChunk(
  incoming: Incoming,
  chunk: { readonly offset: number; readonly size: number; readonly running: RunningDigest | null },
): Receipt {
  const { range } = incoming;
  if (range !== null && chunk.size - chunk.offset !== range.end - range.start + 1) {
    // The next append at the old offset cuts off what came.
    return {
      offsetBytes: chunk.offset,
      running: null,
      verified: null,
      error: new RegistryError(
        'SIZE_INVALID',
        'the chunk does not have the length that its Content-Range says',
      ),
    };
  }
  return { offsetBytes: chunk.size, running: chunk.running, verified: null, error: null };
}

/** After a broken body: what arrived counts, so that the client can go on from there. */
async function standing(
  deps: ReceiveDeps,
  request: { readonly id: UploadId; readonly offset: number; readonly running: RunningDigest | null },
): Promise<Omit<Receipt, 'error'>> {
  const { offset, running } = request;
  const staged = await deps.blobs.staged(request.id).catch(() => null);
  const offsetBytes = staged === null ? 0 : staged.sizeBytes;
  if (offsetBytes < offset) return { offsetBytes, running: null, verified: null };
  return { offsetBytes, running: running?.bytes === offsetBytes ? running : null, verified: null };
}

function tooLarge(blobBytesMax: number): RegistryError {
  return new RegistryError('BLOB_TOO_LARGE', `this registry accepts blobs of at most ${blobBytesMax} bytes`);
}

/** An abort may carry any reason. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error('the request was aborted', { cause: thrown });
}
