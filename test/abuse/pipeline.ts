import { connect } from 'node:net';

export interface Batch {
  /** All of it goes out in one write, as latin1. */
  readonly bytes: string;
  /**
   * Whether the server can know where each request ends. If not, it may wait for more: the client then closes its side
   * when nothing has come for a while.
   */
  readonly sound: boolean;
}

export interface BatchAnswer {
  readonly text: string;
  /** The server kept the connection open for longer than anything may take. */
  readonly hung: boolean;
}

const HUNG_MILLISECONDS = 45_000;
const QUIET_MILLISECONDS = 400;

/** Sends one batch on a connection of its own; resolves when that is closed, whoever did it. */
export function sendBatch(port: number, batch: Batch): Promise<BatchAnswer> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: false });
    const parts: Buffer[] = [];
    let hung = false;
    const deadline = setTimeout(() => {
      hung = true;
      socket.destroy();
    }, HUNG_MILLISECONDS);
    const quiet = setTimeout(() => {
      if (!batch.sound) socket.end();
    }, QUIET_MILLISECONDS);
    socket.on('data', (part: Buffer) => {
      parts.push(part);
      quiet.refresh();
    });
    // A reset is an end like any other: what was answered before it counts.
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(deadline);
      clearTimeout(quiet);
      resolve({ text: Buffer.concat(parts).toString('latin1'), hung });
    });
    socket.write(batch.bytes, 'latin1');
  });
}
