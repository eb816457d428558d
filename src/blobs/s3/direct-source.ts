import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { recycleRead, takeDirectly } from './direct-agent.ts';
import { unavailable } from './failures.ts';

/** Shorter bodies go the usual way, so that their connection can be used again. */
const DIRECT_BYTES_MIN = 1024 * 1024;
/** Reads that wait for the reader. */
const PIECES_MAX = 2;

/** Where a body's pieces come from. */
export interface PieceSource {
  /** The next piece; `null` at the end of the stream. Throws what ended it before. */
  next(): Promise<Uint8Array | null>;
  recycle(piece: Uint8Array): void;
}

/** The rest of a long body, read straight from its socket; `null` where that is not possible. */
export function directSource(stream: Readable, lengthBytes: number): PieceSource | null {
  const { socket } = stream as IncomingMessage;
  if (lengthBytes < DIRECT_BYTES_MIN || socket === undefined || socket === null) return null;
  const source = new DirectSource(stream as IncomingMessage, lengthBytes);
  return takeDirectly(socket, (bytes) => source.take(bytes)) ? source.begin() : null;
}

class DirectSource implements PieceSource {
  readonly #message: IncomingMessage;
  readonly #pieces: Uint8Array[] = [];
  readonly #lent = new Set<ArrayBufferLike>();
  #leftBytes: number;
  #error: Error | null = null;
  #wake: () => void = () => undefined;

  constructor(message: IncomingMessage, lengthBytes: number) {
    this.#message = message;
    this.#leftBytes = lengthBytes;
  }

  begin(): this {
    const { socket } = this.#message;
    socket.once('error', (error) => this.#fail(error));
    socket.once('close', () =>
      this.#fail(unavailable('the connection was closed in the middle of a body', true)),
    );
    // What the parser has passed on already.
    for (let bytes = this.#message.read() as Buffer | null; bytes !== null; bytes = this.#message.read()) {
      this.take(bytes);
    }
    return this;
  }

  take(bytes: Buffer): boolean {
    this.#leftBytes -= bytes.byteLength;
    this.#pieces.push(bytes);
    this.#wake();
    return this.#leftBytes > 0 && this.#pieces.length < PIECES_MAX;
  }

  async next(): Promise<Uint8Array | null> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#lent.add(piece.buffer);
        return piece;
      }
      if (this.#leftBytes <= 0) return null;
      if (this.#error !== null) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#message.socket.resume();
      });
    }
  }

  /** Only what was handed out here, and only once: two readers of one buffer would see each other's bytes. */
  recycle(piece: Uint8Array): void {
    if (this.#lent.delete(piece.buffer)) recycleRead(piece);
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#wake();
  }
}
