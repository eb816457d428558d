import type { Readable } from 'node:stream';
import { unavailable } from './failures.ts';

/** Bytes of a piece, as the file system driver hands them out: each costs whoever sends it on little beside its bytes. */
const PIECE_BYTES = 512 * 1024;
/** Whole pieces that wait for the reader; another one is being filled. */
const PIECES_MAX = 2;
/** Buffers that this process keeps for the next body. */
const SPARE_BUFFERS_MAX = 16;
/** Bytes of a chunk that is worth freeing by hand. */
const FREED_BYTES_MIN = 16 * 1024;

const spareBuffers: ArrayBufferLike[] = [];

/**
 * What arrives from a socket in many small chunks, gathered into few large pieces. A chunk is freed as soon as it is copied:
 * the collector counts such memory as reason enough to mark the whole heap every few chunks.
 */
export class Gatherer {
  readonly #stream: Readable;
  readonly #pieces: Uint8Array[] = [];
  readonly #lent = new Set<ArrayBufferLike>();
  #filling: Buffer | null = null;
  #filledBytes = 0;
  #leftBytes: number;
  #outcome: { readonly error: Error | null } | null = null;
  #wake: () => void = () => undefined;

  constructor(stream: Readable, lengthBytes: number) {
    this.#stream = stream;
    this.#leftBytes = lengthBytes;
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.once('end', () => this.#end(null));
    stream.once('error', (error) => this.#end(error));
    stream.once('close', () =>
      this.#end(unavailable('the connection was closed in the middle of a body', true)),
    );
    stream.pause();
  }

  /** The next piece; `null` at the end. Throws what ended the stream before. */
  async next(): Promise<Uint8Array | null> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) return piece;
      if (this.#outcome !== null) {
        if (this.#outcome.error !== null) throw this.#outcome.error;
        return this.#flush();
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#stream.resume();
      });
    }
  }

  /** Only what was handed out here, and only once: two readers of one buffer would see each other's bytes. */
  recycle(piece: Uint8Array): void {
    if (this.#lent.delete(piece.buffer) && spareBuffers.length < SPARE_BUFFERS_MAX) {
      spareBuffers.push(piece.buffer);
    }
  }

  #take(chunk: Buffer): void {
    for (let start = 0; start < chunk.byteLength; ) {
      this.#filling ??= newBuffer(this.#leftBytes);
      const end = Math.min(chunk.byteLength, start + this.#filling.byteLength - this.#filledBytes);
      this.#filling.set(chunk.subarray(start, end), this.#filledBytes);
      this.#filledBytes += end - start;
      this.#leftBytes -= end - start;
      start = end;
      if (this.#filledBytes === this.#filling.byteLength) this.#pieces.push(this.#flush() as Uint8Array);
    }
    freeNow(chunk);
    if (this.#pieces.length >= PIECES_MAX) this.#stream.pause();
    if (this.#pieces.length > 0) this.#wake();
  }

  #flush(): Uint8Array | null {
    const buffer = this.#filling;
    if (buffer === null) return null;
    const piece = buffer.subarray(0, this.#filledBytes);
    if (buffer.buffer.byteLength === PIECE_BYTES) this.#lent.add(buffer.buffer);
    this.#filling = null;
    this.#filledBytes = 0;
    return piece;
  }

  #end(error: Error | null): void {
    this.#outcome ??= { error };
    this.#wake();
  }
}

function newBuffer(leftBytes: number): Buffer {
  if (leftBytes > 0 && leftBytes < PIECE_BYTES) return Buffer.allocUnsafeSlow(leftBytes);
  const spare = spareBuffers.pop();
  return spare === undefined ? Buffer.allocUnsafeSlow(PIECE_BYTES) : Buffer.from(spare);
}

function freeNow(chunk: Buffer): void {
  const { buffer } = chunk;
  const isAlone = buffer.byteLength === chunk.byteLength && buffer instanceof ArrayBuffer;
  if (isAlone && chunk.byteLength >= FREED_BYTES_MIN) buffer.transfer(0);
}
