import { Agent, type AgentOptions } from 'node:http';
import { connect, type NetConnectOpts, type Socket } from 'node:net';

/** Bytes of one read of a socket: node:http reads 64 KiB at most, which costs five times the processor time. */
const READ_BYTES = 1024 * 1024;
/** Buffers that this process keeps for the next read. */
const SPARE_BUFFERS_MAX = 16;

/** Reads that are handed out, or copied, before the next one: all connections read into it. */
const sharedBuffer = Buffer.allocUnsafeSlow(READ_BYTES);
const spareBuffers: Buffer[] = [];

/** Takes what a socket reads; false: it should read no more for now. The bytes are the taker's. */
export type Take = (bytes: Buffer) => boolean;

const takers = new WeakMap<Socket, { take: Take | null }>();

/**
 * Connections of plain HTTP whose bytes can be had directly, past the parser, once a long body has begun. Such a connection
 * cannot be used again: the parser knows nothing of how the body ended.
 */
export class DirectAgent extends Agent {
  constructor(options: AgentOptions) {
    super(options);
  }

  override createConnection(options: NetConnectOpts): Socket {
    const taker: { take: Take | null } = { take: null };
    const socket: Socket = connect({
      ...options,
      onread: {
        buffer: () => (taker.take === null ? sharedBuffer : (spareBuffers.pop() ?? newBuffer())),
        callback: (bytesRead: number, buffer: Uint8Array): boolean => {
          const bytes = buffer.subarray(0, bytesRead);
          if (taker.take === null) {
            // Only its event is missing: node:http listens to it, and pauses the socket itself.
            socket.emit('data', Buffer.from(bytes));
            return true;
          }
          return taker.take(buffer === sharedBuffer ? Buffer.from(bytes) : (bytes as Buffer));
        },
      },
    });
    takers.set(socket, taker);
    return socket;
  }
}

/** From now on, what this socket reads goes to `take` only. False: it is no socket of a `DirectAgent`. */
export function takeDirectly(socket: Socket, take: Take): boolean {
  const taker = takers.get(socket);
  if (taker === undefined) return false;
  taker.take = take;
  return true;
}

/** Gives back what a `Take` was given, once. */
export function recycleRead(bytes: Uint8Array): void {
  if (bytes.buffer.byteLength !== READ_BYTES || spareBuffers.length >= SPARE_BUFFERS_MAX) return;
  spareBuffers.push(Buffer.from(bytes.buffer));
}

function newBuffer(): Buffer {
  return Buffer.allocUnsafeSlow(READ_BYTES);
}
