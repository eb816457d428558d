import type { IncomingMessage, ServerResponse } from 'node:http';

/** What is still read of a refused body, so that the client gets to see the answer and not a broken pipe. */
const LINGER_BYTES_MAX = 32 * 1024 * 1024;
const LINGER_MILLISECONDS_MAX = 10_000;

/**
 * Ends a response whose bytes are all written while the body of its request still arrives: reads and drops a bounded
 * amount, then lets node close the connection. Closing at once would reset it under the client's hands.
 */
export function lingerThenEnd(
  message: IncomingMessage,
  response: ServerResponse,
  limits: { readonly bytesMax: number; readonly millisecondsMax: number } = {
    bytesMax: LINGER_BYTES_MAX,
    millisecondsMax: LINGER_MILLISECONDS_MAX,
  },
): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0;
    const timer = setTimeout(done, limits.millisecondsMax);
    timer.unref();
    function done(): void {
      clearTimeout(timer);
      message.off('data', onData).off('end', done).off('close', done);
      if (!response.writableEnded && !response.destroyed) response.end();
      resolve();
    }
    function onData(chunk: Uint8Array): void {
      bytes += chunk.length;
      if (bytes > limits.bytesMax) done();
    }
    if (message.complete || message.destroyed) {
      done();
      return;
    }
    message
      .on('data', onData)
      .on('end', done)
      .on('close', done)
      .on('error', () => {});
    message.resume();
  });
}
