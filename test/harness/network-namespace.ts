import { execFileSync } from 'node:child_process';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { requireTool } from '../../scripts/tools.ts';

/**
 * A machine of its own, as far as the network goes: one line to the services (which can be cut, so that packets vanish as on a
 * broken switch) and one to its clients, which stays. Needs root.
 */
export interface NetworkNamespace extends AsyncDisposable {
  /** Runs a program in there. */
  readonly within: readonly string[];
  /** Where its clients find it. */
  readonly address: string;
  /** Makes a port of this machine's loopback reachable from in there; the address at which it is. */
  offer(port: number): Promise<string>;
  cut(): void;
  mend(): void;
}

function ip(...args: readonly string[]): void {
  execFileSync(requireTool('ip'), args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** `number`: another one for each that is open at the same time, from 1 to 250. */
export function openNetworkNamespace(number: number): NetworkNamespace {
  const name = `drift-${process.pid}-${number}`;
  const services = line('s', number, `10.203.${number}`);
  const clients = line('c', number, `10.204.${number}`);
  ip('netns', 'add', name);
  for (const { outer, inner, net } of [services, clients]) {
    ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner, 'netns', name);
    ip('addr', 'add', `${net}.1/30`, 'dev', outer);
    ip('link', 'set', outer, 'up');
    ip('-n', name, 'addr', 'add', `${net}.2/30`, 'dev', inner);
    ip('-n', name, 'link', 'set', inner, 'up');
  }
  ip('-n', name, 'link', 'set', 'lo', 'up');
  const forwarders: Forwarder[] = [];
  return {
    within: [requireTool('ip'), 'netns', 'exec', name],
    address: `${clients.net}.2`,
    async offer(port) {
      const forwarder = await Forwarder.open(`${services.net}.1`, port);
      forwarders.push(forwarder);
      return forwarder.address;
    },
    cut: () => ip('link', 'set', services.outer, 'down'),
    mend: () => ip('link', 'set', services.outer, 'up'),
    async [Symbol.asyncDispose]() {
      for (const forwarder of forwarders) await forwarder.close();
      for (const { outer } of [services, clients]) ip('link', 'del', outer);
      ip('netns', 'del', name);
    },
  };
}

/** Names of interfaces have at most 15 characters. */
function line(kind: 's' | 'c', number: number, net: string) {
  const end = `${kind}${number}-${process.pid % 1_000_000}`;
  return { outer: `dr${end}`, inner: `in${end}`, net };
}

class Forwarder {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  address = '';

  private constructor(port: number) {
    this.#server = createServer((client) => {
      const service = connect(port, '127.0.0.1');
      for (const [one, other] of [
        [client, service],
        [service, client],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  }

  static async open(host: string, port: number): Promise<Forwarder> {
    const forwarder = new Forwarder(port);
    await new Promise<void>((resolve, reject) => {
      forwarder.#server.once('error', reject);
      forwarder.#server.listen(0, host, resolve);
    });
    const at = forwarder.#server.address();
    if (at === null || typeof at === 'string') throw new Error('no address');
    forwarder.address = `${host}:${at.port}`;
    return forwarder;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
