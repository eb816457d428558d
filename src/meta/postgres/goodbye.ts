import type { Socket } from 'node:net';

/** In milliseconds. */
const goodbyeMillisMax = 200;

/**
 * For a connection that was told goodbye: pg waits until the server has closed it, too, which one never does that a network
 * has swallowed.
 */
export function cutAfterGoodbye(socket: Socket): void {
  setTimeout(() => socket.destroy(), goodbyeMillisMax).unref();
}
