import { type Agent, type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { unavailableNow } from './failures.ts';

/** A server that is away is known to be so after this time. */
const CONNECT_MILLISECONDS_MAX = 3_000;
/** From the first byte of the request to the head of the answer: the server writes and syncs a whole body in between. */
const ANSWER_MILLISECONDS_MAX = 60_000;
/** Between two pieces of an answer's body that somebody waits for. */
const SILENCE_MILLISECONDS_MAX = 30_000;

export interface Exchange {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Null: none. */
  readonly body: readonly Uint8Array[] | null;
  readonly agent: Agent;
  readonly signal: AbortSignal;
}

/** One request, up to the head of its answer. Throws the signal's reason, or `Unavailable` for whatever the network does. */
export async function exchange(options: Exchange): Promise<IncomingMessage> {
  const { url, agent, method, body, signal } = options;
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const length = body?.reduce((sum, piece) => sum + piece.byteLength, 0);
  const headers =
    length === undefined ? options.headers : { ...options.headers, 'content-length': `${length}` };
  const send = url.protocol === 'https:' ? requestHttps : requestHttp;
  const request = send(url, { agent, method, headers, signal });
  const tooSlow = (what: string) => (): void => void request.destroy(new Error(what));
  const answerTimer = setTimeout(tooSlow('no answer in time'), ANSWER_MILLISECONDS_MAX);
  let connectTimer: NodeJS.Timeout | undefined;
  request.once('socket', (socket) => {
    if (!socket.connecting) return;
    connectTimer = setTimeout(tooSlow('no connection in time'), CONNECT_MILLISECONDS_MAX);
    socket.once('connect', () => clearTimeout(connectTimer));
  });
  request.once('response', resolve);
  // Also after the answer's head: an error of the socket then ends the answer, and nobody else listens here.
  request.on('error', reject);
  for (const piece of body ?? []) request.write(piece);
  request.end();
  try {
    return await promise;
  } catch (error) {
    throw translated(error, { url, signal });
  } finally {
    clearTimeout(answerTimer);
    clearTimeout(connectTimer);
  }
}

/** The body's pieces; the connection is given up when the reader leaves early. Throws as `exchange` does. */
export async function* piecesOf(
  answer: IncomingMessage,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const pieces = answer[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let isOver = false;
  try {
    for (;;) {
      // Only while somebody waits: a reader that takes its time is no fault of the server.
      const timer = setTimeout(() => answer.destroy(new Error('no byte in time')), SILENCE_MILLISECONDS_MAX);
      const next = await pieces.next().finally(() => clearTimeout(timer));
      if (next.done === true) {
        isOver = true;
        return;
      }
      yield next.value;
    }
  } catch (error) {
    throw translated(error, { signal });
  } finally {
    if (!isOver) answer.destroy();
  }
}

/** Throws `Unavailable` for more than that. */
export async function readAtMost(answer: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of piecesOf(answer, new AbortController().signal)) {
    bytes += piece.byteLength;
    if (bytes > bytesMax) throw unavailableNow(`GhostBay answers with more than ${bytesMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, bytes);
}

function translated(error: unknown, at: { readonly url?: URL; readonly signal: AbortSignal }): unknown {
  if (at.signal.aborted) return at.signal.reason;
  const { code, message } = error as NodeJS.ErrnoException;
  const where = at.url === undefined ? '' : ` at ${at.url.origin}`;
  return unavailableNow(`GhostBay${where} cannot be reached: ${code ?? message}`, error);
}
