import { type AddressInfo, createServer, type Server } from 'node:net';
import type { Config, ListenAddress } from '../config/config.ts';

/**
 * Replaces port 0 by a free port. Each worker has to listen on the same one, and a lone worker's replacement, too: node's
 * own handling of port 0 under cluster forgets the port with the last worker.
 */
export async function pinPorts(config: Config): Promise<Config> {
  const { bind, ui } = config.server;
  const held: Server[] = [];
  try {
    const server = { ...config.server, bind: await pin(bind, held), ui: await pin(ui, held) };
    return { ...config, server };
  } finally {
    for (const each of held) await new Promise((resolve) => each.close(resolve));
  }
}

async function pin(address: ListenAddress, held: Server[]): Promise<ListenAddress> {
  if (address.port !== 0) return address;
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address.host, port: 0 }, resolve);
  });
  held.push(server);
  return { host: address.host, port: (server.address() as AddressInfo).port };
}
