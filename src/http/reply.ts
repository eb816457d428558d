import type { ServerResponse } from 'node:http';
import type { BlobBody } from '../blobs/blob-store.ts';
import type { Reply, ReplyBody } from './call.ts';
import { frameRanges } from './multipart-ranges.ts';

export interface WriteOptions {
  readonly method: string;
  /** Headers of the door, as name, value, name, value. */
  readonly doorHeaders: readonly string[];
  /** A reader that takes nothing for so long is cut off. */
  readonly idleMillisecondsMax: number;
  /** Leaves a reply that is not streamed open after its last byte: the door ends it when the request's body is drained. */
  readonly keepOpen: boolean;
}

/** How a streamed reply ended. A broken one destroyed the connection: there are never silent bad bytes. */
export interface SentReply {
  readonly bytesOut: number;
  readonly outcome: 'sent' | 'client_gone' | 'broken';
  readonly error: unknown;
}

const NOTHING = new Uint8Array(0);
/** Bytes up to which a body is handed to node as text, one character a byte: it writes head and body in one piece then. */
const TEXT_BYTES_MAX = 8 * 1024;

/**
 * Writes a reply. What is in memory is written at once and synchronously; only streams give a promise. A rejected promise
 * means that nothing was written yet, so that the error can still be answered.
 */
export function writeReply(
  response: ServerResponse,
  reply: Reply,
  options: WriteOptions,
): SentReply | Promise<SentReply> {
  const { body } = reply;
  const bodiless = options.method === 'HEAD' || reply.status === 204 || reply.status === 304;
  switch (body.kind) {
    case 'none':
      return writeBytes(response, reply, bodiless, NOTHING, options);
    case 'bytes':
      return writeBytes(response, reply, bodiless, body.bytes, options);
    case 'json':
      return writeBytes(response, reply, bodiless, Buffer.from(JSON.stringify(body.value)), options);
    case 'blob':
      if (body.body.bytes?.length === body.sizeBytes) {
        return writeBytes(response, reply, bodiless, body.body.bytes, options);
      }
      return writeBlob(response, reply, body, options);
    case 'ranges':
      return writeRanges(response, reply, body, options);
  }
}

function writeBytes(
  response: ServerResponse,
  reply: Reply,
  bodiless: boolean,
  bytes: Uint8Array,
  options: WriteOptions,
): SentReply {
  const head = flatHeaders(reply, options);
  if (bodiless) {
    // A HEAD of something without bytes at hand states the length itself. RFC 9110, 8.6: none on a 204.
    if (reply.status !== 204 && reply.status !== 304 && !hasHeader(head, 'content-length')) {
      head.push('Content-Length', String(bytes.length));
    }
  } else {
    setHeader(head, 'Content-Length', String(bytes.length));
  }
  response.writeHead(reply.status, head);
  const sent = bodiless ? 0 : bytes.length;
  if (options.keepOpen) {
    if (sent > 0) response.write(bytes);
    else response.flushHeaders();
  } else if (sent > 0 && sent <= TEXT_BYTES_MAX) response.end(textOf(bytes), 'latin1');
  else if (sent > 0) response.end(bytes);
  else response.end();
  return { bytesOut: sent, outcome: 'sent', error: null };
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

async function writeBlob(
  response: ServerResponse,
  reply: Reply,
  { body, sizeBytes }: Extract<ReplyBody, { kind: 'blob' }>,
  options: WriteOptions,
): Promise<SentReply> {
  const head = flatHeaders(reply, options);
  setHeader(head, 'Content-Length', String(sizeBytes));
  if (options.method === 'HEAD' || reply.status === 304) {
    await body.close();
    response.writeHead(reply.status, head).end();
    return { bytesOut: 0, outcome: 'sent', error: null };
  }
  if (isQueued(response)) await waitForTurn(response);
  // Read before the head goes out, so that a blob that cannot be read is still an honest error.
  const pieces = await begin(body);
  const stream = new ReplyStream(response, options.idleMillisecondsMax);
  try {
    response.writeHead(reply.status, head);
    await stream.pass(body, pieces, sizeBytes);
    return await stream.finish();
  } catch (error) {
    return stream.breakOff(error);
  } finally {
    await body.close();
  }
}

async function writeRanges(
  response: ServerResponse,
  reply: Reply,
  ranges: Extract<ReplyBody, { kind: 'ranges' }>,
  options: WriteOptions,
): Promise<SentReply> {
  const frame = frameRanges(ranges.ranges, ranges);
  const head = flatHeaders(reply, options);
  setHeader(head, 'Content-Type', frame.contentType);
  setHeader(head, 'Content-Length', String(frame.lengthBytes));
  const first = ranges.ranges[0];
  if (options.method === 'HEAD' || first === undefined) {
    response.writeHead(reply.status, head).end();
    return { bytesOut: 0, outcome: 'sent', error: null };
  }
  if (isQueued(response)) await waitForTurn(response);
  // Read before the head goes out, as above.
  let body = await ranges.open(first);
  let pieces = await begin(body);
  const stream = new ReplyStream(response, options.idleMillisecondsMax);
  try {
    response.writeHead(reply.status, head);
    for (const [index, range] of ranges.ranges.entries()) {
      if (index > 0) {
        body = await ranges.open(range);
        pieces = await begin(body);
      }
      await stream.write(frame.heads[index] ?? NOTHING);
      await stream.pass(body, pieces, range.end - range.start + 1);
      await body.close();
    }
    await stream.write(frame.tail);
    return await stream.finish();
  } catch (error) {
    return stream.breakOff(error);
  } finally {
    await body.close();
  }
}

interface Pieces {
  readonly first: IteratorResult<Uint8Array>;
  readonly rest: AsyncIterator<Uint8Array>;
}

async function begin(body: BlobBody): Promise<Pieces> {
  const rest = body.chunks[Symbol.asyncIterator]();
  try {
    return { first: await rest.next(), rest };
  } catch (error) {
    await body.close();
    throw error;
  }
}

/** One streamed reply: back-pressure, the slow reader's limit, and what becomes of it when either side fails. */
class ReplyStream {
  readonly #response: ServerResponse;
  #bytesOut = 0;
  #gone = false;
  #body: BlobBody | null = null;
  #wake: (() => void) | null = null;

  constructor(response: ServerResponse, idleMillisecondsMax: number) {
    this.#response = response;
    response.on('drain', this.#onReady).on('finish', this.#onReady).on('close', this.#onClose);
    // The socket's own timer sees progress within one large write. Without a listener node destroys the socket.
    response.socket?.setTimeout(idleMillisecondsMax);
    if (response.destroyed || response.socket === null) this.#gone = true;
  }

  async pass(body: BlobBody, pieces: Pieces, sizeBytes: number): Promise<void> {
    this.#body = body;
    const { recycle } = body;
    let left = sizeBytes;
    if (this.#gone) throw new ClientGone();
    for (let piece = pieces.first; piece.done !== true; piece = await pieces.rest.next()) {
      const chunk = piece.value;
      left -= chunk.length;
      if (left < 0) throw new Error(`the blob has more than the ${sizeBytes} bytes it was announced with`);
      await this.write(chunk, recycle === undefined ? undefined : () => recycle(chunk));
    }
    if (this.#gone) throw new ClientGone();
    if (left !== 0) throw new Error(`the blob ended ${left} bytes early`);
    this.#body = null;
  }

  /** `whenSent` is called when nobody reads the bytes any more; never after a failure, which may come in the middle. */
  async write(bytes: Uint8Array, whenSent?: () => void): Promise<void> {
    if (this.#gone) throw new ClientGone();
    this.#bytesOut += bytes.length;
    const onWritten = (error?: Error | null): void => {
      if (error === null || error === undefined) whenSent?.();
    };
    if (this.#response.write(bytes, onWritten)) return;
    await this.#ready();
    if (this.#gone) throw new ClientGone();
  }

  async finish(): Promise<SentReply> {
    this.#response.end();
    while (!this.#response.writableFinished && !this.#gone) await this.#ready();
    this.#release();
    const sent = this.#response.writableFinished;
    return { bytesOut: this.#bytesOut, outcome: sent ? 'sent' : 'client_gone', error: null };
  }

  breakOff(error: unknown): SentReply {
    const gone = this.#gone;
    this.#release();
    this.#response.destroy();
    return { bytesOut: this.#bytesOut, outcome: gone ? 'client_gone' : 'broken', error: gone ? null : error };
  }

  #ready(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      if (this.#gone) this.#onReady();
    });
  }

  readonly #onReady = (): void => {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  };

  /** Frees the blob at once, even while the store is being waited for. */
  readonly #onClose = (): void => {
    if (!this.#response.writableFinished) {
      this.#gone = true;
      this.#body?.close().catch(() => {});
    }
    this.#onReady();
  };

  #release(): void {
    this.#response.off('drain', this.#onReady).off('finish', this.#onReady).off('close', this.#onClose);
  }
}

class ClientGone extends Error {}

/** Whether what was pipelined before it on its connection is still to be answered: node then gives it no socket yet. */
function isQueued(response: ServerResponse): boolean {
  return response.socket === null && !response.destroyed;
}

/**
 * Resolves when the answers before this one are out, or its connection has gone. A stream must not begin earlier: node
 * keeps what is written for later in memory, and when a response is destroyed before its turn it never gives the turn on.
 */
function waitForTurn(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    response.once('socket', () => resolve()).once('close', () => resolve());
  });
}

/** Breaks its connection off, but only when the answers before this one are out. */
export function destroyInTurn(response: ServerResponse): void {
  if (isQueued(response)) response.once('socket', () => response.destroy());
  else response.destroy();
}

function flatHeaders(reply: Reply, options: WriteOptions): string[] {
  const flat: string[] = [];
  for (const name in reply.headers) {
    const value = reply.headers[name];
    if (typeof value === 'string') flat.push(name, value);
    else for (const each of value ?? []) flat.push(name, each);
  }
  if (reply.body.kind === 'json' && !hasHeader(flat, 'content-type')) {
    flat.push('Content-Type', 'application/json');
  }
  for (const each of options.doorHeaders) flat.push(each);
  return flat;
}

function hasHeader(flat: readonly string[], lowerName: string): boolean {
  return indexOfHeader(flat, lowerName) >= 0;
}

function setHeader(flat: string[], name: string, value: string): void {
  const index = indexOfHeader(flat, name.toLowerCase());
  if (index < 0) flat.push(name, value);
  else flat[index + 1] = value;
}

function indexOfHeader(flat: readonly string[], lowerName: string): number {
  for (let index = 0; index < flat.length; index += 2) {
    const name = flat[index] ?? '';
    if (name.length === lowerName.length && name.toLowerCase() === lowerName) return index;
  }
  return -1;
}
