import { connect, type Socket } from 'node:net';
import type { SeededRandom } from '../crash/seeded-random.ts';

export interface AbortPlan {
  readonly kind: 'download' | 'upload';
  /** The whole request, with as much of its body as is ever sent. */
  readonly request: Buffer;
  /** The client goes when it has sent (upload) or received (download) so many bytes. */
  readonly cutAfter: number;
  /** Takes or gives a little at a time, with pauses. */
  readonly isSlow: boolean;
  /** A reset instead of an orderly end. */
  readonly resets: boolean;
}

const SLOW_STEP_BYTES = 4096;
const SLOW_STEP_MILLISECONDS = 15;
const SLOW_STEPS_MAX = 12;

export function planAbort(
  random: SeededRandom,
  target: {
    readonly auth: string;
    readonly blob: string;
    readonly blobBytes: number;
    readonly upload: string;
    readonly body: Buffer;
  },
): AbortPlan {
  const isSlow = random.integer(20) === 0;
  const resets = random.integer(2) === 0;
  if (random.integer(2) === 0) {
    const range = random.pick(['', 'Range: bytes=1000-\r\n', 'Range: bytes=0-99,1000-90000,200000-\r\n']);
    const request = Buffer.from(
      `GET ${target.blob} HTTP/1.1\r\n${target.auth}${range}Connection: close\r\n\r\n`,
    );
    return { kind: 'download', request, cutAfter: random.integer(target.blobBytes), isSlow, resets };
  }
  const { body } = target;
  const chunked = random.integer(2) === 0;
  const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
  const head = Buffer.from(`PATCH ${target.upload} HTTP/1.1\r\n${target.auth}${framing}\r\n\r\n`);
  const size = chunked ? Buffer.from(`${body.length.toString(16)}\r\n`) : Buffer.alloc(0);
  const request = Buffer.concat([head, size, body]);
  return { kind: 'upload', request, cutAfter: 1 + random.integer(request.length - 1), isSlow, resets };
}

/** Resolves when the connection is gone. */
export function abortOne(port: number, plan: AbortPlan): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const go = (): void => {
      if (plan.resets) socket.resetAndDestroy();
      else socket.destroy();
    };
    socket.on('error', () => {});
    socket.once('close', () => resolve());
    socket.once('connect', () => {
      if (plan.kind === 'download') receive(socket, plan, go);
      else send(socket, plan, go);
    });
  });
}

function receive(socket: Socket, plan: AbortPlan, go: () => void): void {
  let received = 0;
  let pauses = 0;
  socket.write(plan.request);
  socket.on('data', (part: Buffer) => {
    received += part.length;
    if (received >= plan.cutAfter) go();
    else if (plan.isSlow && pauses++ < SLOW_STEPS_MAX) {
      socket.pause();
      setTimeout(() => socket.resume(), SLOW_STEP_MILLISECONDS);
    }
  });
}

function send(socket: Socket, plan: AbortPlan, go: () => void): void {
  const bytes = plan.request.subarray(0, plan.cutAfter);
  socket.resume();
  if (!plan.isSlow) {
    socket.write(bytes, go);
    return;
  }
  const step = Math.max(SLOW_STEP_BYTES, Math.ceil(bytes.length / SLOW_STEPS_MAX));
  const next = (at: number): void => {
    if (at >= bytes.length || socket.destroyed) go();
    else
      socket.write(bytes.subarray(at, at + step), () => setTimeout(next, SLOW_STEP_MILLISECONDS, at + step));
  };
  next(0);
}
