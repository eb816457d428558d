import { type AddressInfo, createServer, type Server } from 'node:net';
import type { Config, ListenAddress } from '../config/config.ts';

/**
 * Listens on the configured addresses for a moment: a port that another program has is found out here, since workers
 * share theirs with whoever shares (SO_REUSEPORT), another Drift included. Port 0 becomes a free port, the same for
 * every worker. Rejects with node's own error (`EADDRINUSE`…).
 */
export async function pinPorts(config: Config): Promise<Config> {
  const { bind, ui } = config.server;
  const held: Server[] = [];
  try {
    const together = bind.host === ui.host && bind.port === ui.port && bind.port !== 0;
    const pinned = await pin(bind, held);
    const server = { ...config.server, bind: pinned, ui: together ? pinned : await pin(ui, held) };
    return { ...config, server };
  } finally {
    for (const each of held) await new Promise((resolve) => each.close(resolve));
  }
}

async function pin({ host, port }: ListenAddress, held: Server[]): Promise<ListenAddress> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, resolve);
  });
  held.push(server);
  return { host, port: (server.address() as AddressInfo).port };
}
