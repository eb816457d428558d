import type { Readable } from 'node:stream';
import type { BlobBody } from '../blob-store.ts';
import { directSource, type PieceSource } from './direct-source.ts';
import { NoAnswer, translated, unavailable } from './failures.ts';
import { Gatherer } from './gather.ts';

const WATCH_MILLISECONDS = 1_000;

/** Owns the answer's stream: destroys it, and with it the connection, wherever it is left before its last byte. */
export class ObjectBody implements BlobBody {
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly #stream: Readable;
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => this.#end();
  readonly #source: PieceSource;
  #closed = false;

  readonly recycle = (chunk: Uint8Array): void => this.#source.recycle(chunk);

  constructor(
    stream: Readable,
    body: {
      readonly sizeBytes: number;
      readonly lengthBytes: number;
      readonly signal: AbortSignal;
      readonly idleSecondsMax: number;
    },
  ) {
    this.sizeBytes = body.sizeBytes;
    this.#stream = stream;
    this.#signal = body.signal;
    // Whoever reads hears of it there; nobody may be reading.
    stream.on('error', () => undefined);
    this.#source = directSource(stream, body.lengthBytes) ?? new Gatherer(stream, body.lengthBytes);
    this.chunks = this.#read(body.lengthBytes, body.idleSecondsMax);
    if (body.signal.aborted) this.#onAbort();
    else body.signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#end();
  }

  #end(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#stream.destroy();
  }

  async *#read(lengthBytes: number, idleSecondsMax: number): AsyncGenerator<Uint8Array, void, void> {
    let left = lengthBytes;
    const source = this.#source;
    const watch = new StallWatch(this.#stream, idleSecondsMax);
    try {
      this.#throwIfEnded();
      watch.await();
      for (let chunk = await source.next(); chunk !== null; chunk = await source.next()) {
        watch.rest();
        this.#throwIfEnded();
        left -= chunk.byteLength;
        if (left < 0) throw unavailable('the service sent more bytes than it announced', true);
        yield chunk;
        this.#throwIfEnded();
        watch.await();
      }
      this.#throwIfEnded();
      if (left > 0) throw unavailable(`the service ended a body ${left} bytes too early`, true);
    } catch (error) {
      this.#throwIfEnded();
      throw translated(watch.stalled ?? error, 'read a blob');
    } finally {
      watch.stop();
      this.#end();
    }
  }

  #throwIfEnded(): void {
    this.#signal.throwIfAborted();
    if (this.#closed) throw new Error('the body was closed before its end');
  }
}

/** Ends a stream that somebody waits for and that brings nothing; a slow reader is no reason. */
class StallWatch {
  stalled: Error | null = null;
  readonly #timer: NodeJS.Timeout;
  #waitingSince: number | null = null;

  constructor(stream: Readable, secondsMax: number) {
    this.#timer = setInterval(() => {
      if (this.#waitingSince === null || performance.now() - this.#waitingSince < secondsMax * 1000) return;
      this.stalled = new NoAnswer(secondsMax);
      stream.destroy();
    }, WATCH_MILLISECONDS);
    this.#timer.unref();
  }

  await(): void {
    this.#waitingSince = performance.now();
  }

  rest(): void {
    this.#waitingSince = null;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
