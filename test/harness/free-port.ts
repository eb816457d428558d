import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** A port that was free a moment ago, for programs that cannot be asked which one they took. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
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
