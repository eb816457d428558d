import type { FileHandle } from 'node:fs/promises';
import type { BlobBody, ByteRange } from '../blob-store.ts';
import { DamagedBlob } from '../damaged-blob.ts';
import { translated } from './failures.ts';

/** Bytes of one read: 64 KiB would triple the processor time of a large body. */
const READ_BYTES = 512 * 1024;
/** Buffers of that size that this process keeps for the next read. */
const SPARE_BUFFERS_MAX = 16;

/** A new buffer for every read grows what is outside of the heap so fast that the whole heap is marked every few reads. */
const spareBuffers: ArrayBufferLike[] = [];

/** Owns the handle: closes it at the end, on an error, when the signal aborts and on `close()`, even during a read. */
export class FileBody implements BlobBody {
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly #handle: FileHandle;
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => void this.close().catch(() => undefined);
  readonly #lent = new Set<ArrayBufferLike>();
  #closed: Promise<void> | null = null;

  /** Only what this body handed out, and only once: two readers of one buffer would see each other's bytes. */
  readonly recycle = (chunk: Uint8Array): void => {
    if (this.#lent.delete(chunk.buffer) && spareBuffers.length < SPARE_BUFFERS_MAX) {
      spareBuffers.push(chunk.buffer);
    }
  };

  constructor(
    handle: FileHandle,
    body: { readonly sizeBytes: number; readonly range: ByteRange | null; readonly signal: AbortSignal },
  ) {
    this.#handle = handle;
    this.#signal = body.signal;
    this.sizeBytes = body.sizeBytes;
    this.chunks = this.#read(
      body.range?.start ?? 0,
      body.range === null ? body.sizeBytes : body.range.end + 1,
    );
    if (body.signal.aborted) this.#onAbort();
    else body.signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  close(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#closed ??= this.#handle.close();
    return this.#closed;
  }

  async *#read(start: number, end: number): AsyncGenerator<Uint8Array, void, void> {
    try {
      for (let position = start; position < end; ) {
        const chunk = await this.#readOnce(position, Math.min(READ_BYTES, end - position));
        position += chunk.byteLength;
        yield chunk;
      }
    } finally {
      await this.close();
    }
  }

  /** Never into a chunk that was not given back: the consumer may hold it until its socket has sent it. */
  async #readOnce(position: number, length: number): Promise<Uint8Array> {
    this.#throwIfEnded();
    const buffer = newBuffer(length);
    let bytesRead: number;
    try {
      ({ bytesRead } = await this.#handle.read(buffer, 0, length, position));
    } catch (error) {
      this.#throwIfEnded();
      throw translated(error, 'read a blob');
    }
    this.#throwIfEnded();
    if (bytesRead === 0) throw new DamagedBlob(`a blob's file ends ${length} bytes or more too early`);
    if (buffer.buffer.byteLength === READ_BYTES) this.#lent.add(buffer.buffer);
    return bytesRead === length ? buffer : buffer.subarray(0, bytesRead);
  }

  #throwIfEnded(): void {
    this.#signal.throwIfAborted();
    if (this.#closed !== null) throw new Error('the body was closed before its end');
  }
}

function newBuffer(length: number): Buffer {
  if (length < READ_BYTES) return Buffer.allocUnsafeSlow(length);
  const spare = spareBuffers.pop();
  return spare === undefined ? Buffer.allocUnsafeSlow(READ_BYTES) : Buffer.from(spare);
}
