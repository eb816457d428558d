import type { FileHandle } from 'node:fs/promises';
import type { BlobBody, ByteRange } from '../blob-store.ts';
import { translated, unavailable } from './failures.ts';

/** Bytes of one read: 64 KiB would triple the processor time of a large body. */
const READ_BYTES = 512 * 1024;

/** Owns the handle: closes it at the end, on an error, when the signal aborts and on `close()`, even during a read. */
export class FileBody implements BlobBody {
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly #handle: FileHandle;
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => void this.close().catch(() => undefined);
  #closed: Promise<void> | null = null;

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

  /** A fresh buffer each time: the consumer may hold a chunk until its socket has sent it. */
  async #readOnce(position: number, length: number): Promise<Uint8Array> {
    this.#throwIfEnded();
    const buffer = Buffer.allocUnsafeSlow(length);
    let bytesRead: number;
    try {
      ({ bytesRead } = await this.#handle.read(buffer, 0, length, position));
    } catch (error) {
      this.#throwIfEnded();
      throw translated(error, 'read a blob');
    }
    this.#throwIfEnded();
    if (bytesRead === 0) throw unavailable(`a blob's file ends ${length} bytes or more too early`);
    return bytesRead === length ? buffer : buffer.subarray(0, bytesRead);
  }

  #throwIfEnded(): void {
    this.#signal.throwIfAborted();
    if (this.#closed !== null) throw new Error('the body was closed before its end');
  }
}
