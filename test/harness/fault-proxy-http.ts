import { once } from 'node:events';
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  type ServerResponse,
  request as sendRequest,
} from 'node:http';
import type { Server, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { CannedAnswer, Fault } from './fault-proxy.ts';
import { bytesLeft, type ProxyParts } from './fault-schedule.ts';

/** Hop by hop; everything else goes through as it came, since signatures cover it. */
const OWN_HEADERS = new Set(['connection', 'keep-alive', 'expect']);

/** Faults by request. */
export function createHttpServer(parts: ProxyParts): Server {
  return createServer({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 }, (message, response) => {
    response.on('error', () => {});
    // Kept: a message that has ended forgets it.
    const { socket } = message;
    handle({ message, response, socket, parts }).catch(() => socket.resetAndDestroy());
  });
}

interface Exchange {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly socket: Socket;
  readonly parts: ProxyParts;
}

async function handle(exchange: Exchange): Promise<void> {
  const { message, response, socket, parts } = exchange;
  const asked = { method: message.method ?? 'GET', path: message.url ?? '/' };
  let fault = parts.schedule.meet(asked);
  while (fault.kind === 'hang') {
    await Promise.race([parts.schedule.change, once(response, 'close')]);
    if (socket.destroyed) return;
    fault = parts.schedule.meet(asked);
  }
  if (fault.kind === 'answer') return answer(exchange, fault);
  if (fault.kind === 'delay') await delay(fault.milliseconds);
  await forward(exchange, fault);
}

function answer({ message, response }: Exchange, canned: CannedAnswer): void {
  message.resume();
  response.writeHead(canned.status, { 'content-type': canned.contentType ?? 'text/plain' });
  response.end(message.method === 'HEAD' ? undefined : canned.body);
}

async function forward(exchange: Exchange, fault: Fault): Promise<void> {
  const { message, response, socket, parts } = exchange;
  const outgoing = sendRequest({
    host: '127.0.0.1',
    port: parts.targetPort,
    method: message.method,
    path: message.url,
    headers: [...withoutOwn(message.rawHeaders), 'connection', 'close'],
    agent: false,
  });
  response.once('close', () => outgoing.destroy());
  const cut = (): void => {
    outgoing.destroy();
    socket.resetAndDestroy();
  };
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  outgoing.on('error', cut);
  void passUp({ message, outgoing, fault, parts }).catch(cut);
  const [reply] = await answered;
  response.writeHead(reply.statusCode ?? 502, withoutOwn(reply.rawHeaders));
  await passDown({ reply, response, socket, fault, parts });
}

/** Throws where the fault cuts the line. */
async function passUp(options: {
  readonly message: IncomingMessage;
  readonly outgoing: ClientRequest;
  readonly fault: Fault;
  readonly parts: ProxyParts;
}): Promise<void> {
  const { message, outgoing, fault, parts } = options;
  let left = bytesLeft(fault, 'up');
  if (left === 0) throw new Error('cut before the body');
  // The end of the loop shall not end the connection in good order.
  const pieces = message.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  for await (const piece of pieces) {
    const part = piece.subarray(0, left);
    left -= part.length;
    if (fault.kind === 'throttle') await parts.lanes.up.pass(part.length, fault.bytesPerSecond);
    parts.bytes.up += part.length;
    // A service may answer and hang up before it has read everything: the rest is nobody's then.
    if (outgoing.destroyed) continue;
    await new Promise<void>((resolve) => outgoing.write(part, () => resolve()));
    if (left === 0) throw new Error('cut in the body');
  }
  outgoing.end();
}

async function passDown(options: {
  readonly reply: IncomingMessage;
  readonly response: ServerResponse;
  readonly socket: Socket;
  readonly fault: Fault;
  readonly parts: ProxyParts;
}): Promise<void> {
  const { reply, response, socket, fault, parts } = options;
  let left = bytesLeft(fault, 'down');
  response.flushHeaders();
  if (left === 0) return end(socket, fault);
  for await (const piece of reply as AsyncIterable<Buffer>) {
    const part = piece.subarray(0, left);
    left -= part.length;
    if (fault.kind === 'throttle') await parts.lanes.down.pass(part.length, fault.bytesPerSecond);
    parts.bytes.down += part.length;
    // Only what has left this process reaches the client before the connection ends.
    await new Promise<void>((resolve) => response.write(part, () => resolve()));
    if (left === 0) return end(socket, fault);
  }
  response.end();
}

function end(socket: Socket, fault: Fault): void {
  if (fault.kind === 'truncate') socket.end();
  else socket.resetAndDestroy();
}

function withoutOwn(rawHeaders: readonly string[]): string[] {
  const pairs = rawHeaders.flatMap((name, index) =>
    index % 2 === 0 && !OWN_HEADERS.has(name.toLowerCase()) ? [[name, rawHeaders[index + 1] ?? '']] : [],
  );
  return pairs.flat();
}
