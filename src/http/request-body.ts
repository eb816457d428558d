import type { IncomingMessage, ServerResponse } from 'node:http';
import { RegistryError } from '../oci/error-codes.ts';
import { Arrivals } from './arrivals.ts';
import type { RequestBody } from './call.ts';

/** Bytes that each idle window must bring, so that one byte a minute does not hold an upload open. */
const WINDOW_BYTES_MIN = 256;

export interface RequestBodyOptions {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  /** The client waits for `100 Continue` before it sends anything. */
  readonly expectsContinue: boolean;
  readonly idleMillisecondsMax: number;
  /** Told once when the body stops arriving, before the reader gets the same error. */
  readonly onIdle: (error: RegistryError) => void;
}

/** Reads straight from the message. Unlike its own iterator it never destroys the socket: the answer still has to go out. */
export class IncomingBody implements RequestBody, AsyncIterableIterator<Uint8Array> {
  readonly lengthBytes: number | null;
  readonly empty: boolean;
  readonly message: IncomingMessage;
  bytesRead = 0;
  readonly #options: RequestBodyOptions;
  readonly #arrivals: Arrivals;
  #windowBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #wake: (() => void) | null = null;
  #failure: Error | null = null;
  #started = false;
  #ended = false;

  constructor(options: RequestBodyOptions) {
    this.#options = options;
    this.message = options.message;
    const { headers } = options.message;
    const chunked = headers['transfer-encoding'] !== undefined;
    const length = headers['content-length'];
    this.lengthBytes = chunked ? null : Number(length ?? 0);
    this.empty = this.lengthBytes === 0;
    this.#arrivals = new Arrivals(this.lengthBytes);
  }

  get chunks(): AsyncIterable<Uint8Array> {
    return this;
  }

  /** `100 Continue` was asked for and not sent: the client may never send the body. */
  get awaitsContinue(): boolean {
    return this.#options.expectsContinue && !this.#started;
  }

  /** Whether bytes of the body are still to come from the client. */
  get unfinished(): boolean {
    return !this.empty && !this.message.complete;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#started) this.#start();
    for (;;) {
      const piece = this.#arrivals.take(this.#ended || this.#failure !== null);
      this.#resume();
      if (piece !== null) return { value: piece, done: false };
      if (this.#failure !== null) throw this.#failure;
      if (this.#ended) return { value: undefined, done: true };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#release();
    this.#arrivals.drop();
    this.#ended = true;
    if (!this.message.complete) this.message.pause();
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Ends reading: what has arrived is still handed out, then the reader gets the error. */
  fail(error: Error): void {
    if (this.#ended || this.#failure !== null) return;
    this.#failure = error;
    this.#release();
    this.#wakeReader();
  }

  #start(): void {
    this.#started = true;
    if (this.empty) {
      this.#ended = true;
      return;
    }
    if (this.message.destroyed && !this.message.complete) {
      this.#failure = goneError();
      return;
    }
    if (this.#options.expectsContinue && !this.#options.response.headersSent) {
      this.#options.response.writeContinue();
    }
    this.message.on('data', this.#onData).on('end', this.#onEnd);
    this.message.on('error', this.#onGone).on('close', this.#onGone);
    this.#timer = setTimeout(this.#onWindow, this.#options.idleMillisecondsMax);
    this.#timer.unref();
  }

  readonly #onData = (chunk: Uint8Array): void => {
    this.bytesRead += chunk.length;
    this.#windowBytes += chunk.length;
    this.#arrivals.push(chunk);
    if (this.#arrivals.isFull) this.message.pause();
    if (this.#arrivals.hasPiece) this.#wakeReader();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#release();
    this.#wakeReader();
  };

  readonly #onGone = (): void => {
    this.fail(goneError());
  };

  /** Counts only while it is the client that is waited for, not while the disk is. */
  readonly #onWindow = (): void => {
    const starving = this.#wake !== null;
    if (!starving || this.#windowBytes >= WINDOW_BYTES_MIN) {
      this.#windowBytes = 0;
      this.#timer?.refresh();
      return;
    }
    const error = new RegistryError('REQUEST_TIMEOUT');
    this.#options.onIdle(error);
    this.fail(error);
  };

  #resume(): void {
    if (this.#ended || this.#arrivals.isFull || !this.message.isPaused()) return;
    this.#windowBytes = 0;
    this.#timer?.refresh();
    this.message.resume();
  }

  #wakeReader(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  #release(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.message.off('data', this.#onData).off('end', this.#onEnd);
    this.message.off('close', this.#onGone);
  }
}

function goneError(): Error {
  const error = new Error('the client went away before its body was complete');
  error.name = 'AbortError';
  return error;
}
