/** Bytes of a piece: large enough that a write costs little beside its bytes, small enough for a processor's cache. */
const SLAB_BYTES = 256 * 1024;
/** Shorter bodies are gathered in a buffer of their own length. */
const SHORT_BODY_BYTES_MAX = 64 * 1024;
/** Slabs of one body: one is read, one waits, one is filled. */
const SLABS_PER_BODY_MAX = 3;
/** Slabs of all bodies that this process receives at the same time: 64 MiB. */
const SLABS_MAX = 256;
/** Slabs that are kept for the next body. */
const SPARE_SLABS_MAX = 16;
/** Pieces of one body that wait for its reader. */
const PIECES_MAX = 4;
/** Bytes of a chunk that is worth freeing by hand. */
const FREED_BYTES_MIN = 16 * 1024;

const spareSlabs: Buffer[] = [];
let slabsTaken = 0;

interface Piece {
  readonly bytes: Uint8Array;
  readonly slab: Buffer | null;
}

/**
 * What has arrived of a body and is not read yet, gathered into few large pieces that cost their reader little beside their
 * bytes. The chunks that node:http allocates, one for each read of the socket, are copied and freed at once.
 */
export class Arrivals {
  readonly #slabBytes: number;
  readonly #pieces: Piece[] = [];
  /** Chunks for which there is no slab at the moment. */
  readonly #waiting: Uint8Array[] = [];
  /** Bytes of the first of them that stand in a slab already. */
  #pouredBytes = 0;
  #slabs = 0;
  #filling: Buffer | null = null;
  #filledBytes = 0;
  #read: Buffer | null = null;

  constructor(lengthBytes: number | null) {
    this.#slabBytes = lengthBytes === null || lengthBytes > SHORT_BODY_BYTES_MAX ? SLAB_BYTES : lengthBytes;
  }

  /** Nothing more should arrive before a piece was taken. */
  get isFull(): boolean {
    return this.#waiting.length > 0 || this.#pieces.length >= PIECES_MAX;
  }

  get hasPiece(): boolean {
    return this.#pieces.length > 0;
  }

  /** Takes the chunk over: its memory may be gone afterwards. */
  push(chunk: Uint8Array): void {
    this.#waiting.push(chunk);
    if (this.#waiting.length === 1) this.#pour();
  }

  /** The next piece, which is the reader's until it takes another one; null: none is whole. At the end any piece is. */
  take(atEnd: boolean): Uint8Array | null {
    this.#giveBack(this.#read);
    this.#read = null;
    this.#pour();
    if (atEnd && this.#pieces.length === 0) this.#endPiece();
    const piece = this.#pieces.shift();
    if (piece === undefined) return null;
    this.#read = piece.slab;
    return piece.bytes;
  }

  /** Nobody reads any more. */
  drop(): void {
    this.#endPiece();
    for (const { slab } of this.#pieces) this.#giveBack(slab);
    this.#giveBack(this.#read);
    this.#read = null;
    this.#pieces.length = 0;
    this.#waiting.length = 0;
    this.#pouredBytes = 0;
  }

  #pour(): void {
    for (let chunk = this.#waiting[0]; chunk !== undefined; chunk = this.#waiting[0]) {
      this.#filling ??= this.#takeSlab();
      if (this.#filling === null) {
        if (this.#slabs > 0) return;
        // Very many bodies at once: this one does without.
        this.#pieces.push({ bytes: chunk.subarray(this.#pouredBytes), slab: null });
        this.#endChunk();
      } else if (this.#pourInto(this.#filling, chunk)) {
        this.#endChunk();
        freeNow(chunk);
      }
    }
  }

  /** True when the slab had room for all that was left of the chunk. */
  #pourInto(slab: Buffer, chunk: Uint8Array): boolean {
    const left = chunk.byteLength - this.#pouredBytes;
    const bytes = Math.min(left, slab.byteLength - this.#filledBytes);
    const isWhole = bytes === chunk.byteLength;
    slab.set(
      isWhole ? chunk : chunk.subarray(this.#pouredBytes, this.#pouredBytes + bytes),
      this.#filledBytes,
    );
    this.#pouredBytes += bytes;
    this.#filledBytes += bytes;
    if (this.#filledBytes === slab.byteLength) this.#endPiece();
    return bytes === left;
  }

  #endChunk(): void {
    this.#waiting.shift();
    this.#pouredBytes = 0;
  }

  #endPiece(): void {
    const slab = this.#filling;
    if (slab === null) return;
    const isWhole = this.#filledBytes === slab.byteLength;
    this.#pieces.push({ bytes: isWhole ? slab : slab.subarray(0, this.#filledBytes), slab });
    this.#filling = null;
    this.#filledBytes = 0;
  }

  #takeSlab(): Buffer | null {
    if (this.#slabBytes < SLAB_BYTES) return Buffer.allocUnsafe(this.#slabBytes);
    if (this.#slabs >= SLABS_PER_BODY_MAX || slabsTaken >= SLABS_MAX) return null;
    this.#slabs += 1;
    slabsTaken += 1;
    return spareSlabs.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
  }

  #giveBack(slab: Buffer | null): void {
    if (slab === null || slab.byteLength < SLAB_BYTES) return;
    this.#slabs -= 1;
    slabsTaken -= 1;
    if (spareSlabs.length < SPARE_SLABS_MAX) spareSlabs.push(slab);
  }
}

/**
 * Takes the memory of a chunk away from it. The collector would do so only after some 30 MiB of such chunks, and counts them
 * as reason enough to mark the whole heap each time; and memory that is used again at once is still in the processor's cache.
 */
function freeNow(chunk: Uint8Array): void {
  const { buffer } = chunk;
  const isAlone = buffer.byteLength === chunk.byteLength && buffer instanceof ArrayBuffer;
  if (isAlone && chunk.byteLength >= FREED_BYTES_MIN) buffer.transfer(0);
}
