import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Connections on which a refusal waits for its turn: whatever else comes on them is dropped. */
const refusing = new WeakSet<Socket>();

/** Calls back when what node's parser refused is to be answered; never, when that is under way already. */
export function whenErrorIsDue(error: Error & { code?: string }, socket: Socket, answer: () => void): void {
  if (refusing.has(socket)) return;
  if (LEAVING.has(error.code ?? '')) {
    answer();
    return;
  }
  refusing.add(socket);
  afterAnswers(socket, answer);
}

/** RFC 9112, 9.3.2: complete requests before a refused one are answered first, in their order. */
function afterAnswers(socket: Socket, refuse: () => void): void {
  const response = responseOn(socket);
  if (response === null || !response.req.complete || socket.destroyed) refuse();
  else response.once('close', () => afterAnswers(socket, refuse));
}

/**
 * What node's parser refused, answered in the same form as every other error. Null when there is nobody to answer, or an
 * answer is under way already: two answers to one request must not be.
 */
export function answerClientError(error: Error & { code?: string }, socket: Socket): number | null {
  const response = responseOn(socket);
  const left = error.code === 'ECONNRESET' || (response !== null && error.code === 'HPE_INVALID_EOF_STATE');
  if (left || !socket.writable || response?.headersSent === true) {
    socket.destroy();
    return null;
  }
  const { status, phrase, message } = REFUSALS.get(error.code ?? '') ?? MALFORMED;
  const body = JSON.stringify({ errors: [{ code: 'UNSUPPORTED', message, detail: null }] });
  socket.end(
    `HTTP/1.1 ${status} ${phrase}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n` +
      `Docker-Distribution-Api-Version: registry/2.0\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n${body}`,
  );
  closeSoon(socket);
  return status;
}

/** Answers a CONNECT, for which node has let go of the socket: its errors are ours, and so is its end. */
export function refuseTunnel(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  afterAnswers(socket, () => {
    // A request before it on the same connection may have had the last word.
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    socket.end('HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    closeSoon(socket);
  });
}

/** The client may go on sending what nobody can read any more, or never close its side. */
function closeSoon(socket: Socket): void {
  setTimeout(() => socket.destroy(), CLOSE_MILLISECONDS_MAX).unref();
}

const CLOSE_MILLISECONDS_MAX = 2000;

/** The response that a socket is busy with, as node keeps it. */
export function responseOn(socket: Socket): ServerResponse | null {
  return '_httpMessage' in socket ? (socket._httpMessage as ServerResponse | null) : null;
}

/** The client closed its side, or the connection broke: nobody reads what would be answered. */
const LEAVING: ReadonlySet<string> = new Set(['ECONNRESET', 'HPE_INVALID_EOF_STATE']);

interface Refusal {
  readonly status: number;
  readonly phrase: string;
  readonly message: string;
}

const MALFORMED: Refusal = { status: 400, phrase: 'Bad Request', message: 'the request is not valid HTTP' };
const REFUSALS: ReadonlyMap<string, Refusal> = new Map([
  [
    'HPE_HEADER_OVERFLOW',
    { status: 431, phrase: 'Request Header Fields Too Large', message: 'the request headers are too large' },
  ],
  [
    'HPE_CHUNK_EXTENSIONS_OVERFLOW',
    { status: 413, phrase: 'Payload Too Large', message: 'the chunk extensions are too large' },
  ],
  [
    'ERR_HTTP_REQUEST_TIMEOUT',
    { status: 408, phrase: 'Request Timeout', message: 'the request headers took too long' },
  ],
]);
