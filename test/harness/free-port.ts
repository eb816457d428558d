import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that Linux gives to clients: a service that is down for a moment finds its port still free. */
const FIRST_PORT = 15_000;
const LAST_PORT = 31_999;

/** A port that was free a moment ago, for programs that cannot be asked which one they took. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST_PORT, LAST_PORT + 1);
    if (await isPortFree(port)) return port;
  }
}

/** Whether a server could listen there on loopback. */
export async function isPortFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}

/** Throws a sentence for a port that a test has no choice about. */
export async function requireFreePort(port: number): Promise<void> {
  const server = createServer().listen(port, '0.0.0.0');
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new Error(`port ${port} is taken on this machine, and this test needs it`, { cause: error });
  }
  server.close();
  await once(server, 'close');
}
