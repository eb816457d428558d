import { type Certificate, type NodePorts, startBalancer } from './balancer.ts';
import { freePort, isPortFree } from './free-port.ts';
import { type SpawnedDrift, spawnDrift } from './spawn-drift.ts';
import { createStores, NODES, type SharedStores, storeEnvironment } from './stack.ts';

export interface ClusterOptions {
  /** The same for every node, beside what says where the stores are. */
  readonly env?: Readonly<Record<string, string>>;
  /** nginx then speaks TLS, too. */
  readonly certificate?: Certificate;
  /** Of an earlier cluster. Default: empty ones. */
  readonly stores?: SharedStores;
}

/** `NODES` real registries on one PostgreSQL and one bucket, behind an nginx that gives each request to the next of them. */
export interface Cluster {
  /** Of nginx, without a trailing slash. */
  readonly url: string;
  /** Null without a certificate. */
  readonly tlsUrl: string | null;
  readonly stores: SharedStores;
  /** In the order of nginx's list; one that was killed keeps its place. */
  readonly nodes: readonly SpawnedDrift[];
  /** SIGKILL. */
  kill(index: number): Promise<void>;
  /** One that was stopped or killed, at the same address, with nothing of what was on its disk. */
  restart(index: number): Promise<void>;
  /**
   * As docs/nodes.md has it: out of nginx's list, stopped, started again as the program at this path, back into the list.
   */
  upgrade(index: number, program: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const stores = options.stores ?? (await createStores());
  const places: NodePorts[] = [];
  while (places.length < NODES) places.push({ registry: await freePort(), console: await freePort() });
  const env = { DRIFT_WORKERS: '1', ...storeEnvironment(stores), ...options.env };
  const nodes = await startAll(places, env);
  const stopNodes = () => Promise.all(nodes.map((node) => node.stop()));
  const { certificate } = options;
  const balancer = await startBalancer(places, { certificate }).catch(async (error: unknown) => {
    await stopNodes();
    throw error;
  });
  return {
    url: balancer.url,
    tlsUrl: balancer.tlsUrl,
    stores,
    nodes,
    kill: async (index) => {
      await nodes[index]?.kill();
    },
    restart: async (index) => {
      const place = places[index] as NodePorts;
      // Workers that lost their primary may still hold the ports for a moment.
      while (!(await isPortFree(place.registry)) || !(await isPortFree(place.console)));
      nodes[index] = await startNode(place, env);
    },
    upgrade: async (index, program) => {
      await balancer.leaveOut(index);
      await nodes[index]?.stop();
      nodes[index] = await startNode(places[index] as NodePorts, env, program);
      await balancer.leaveOut(null);
    },
    stop: async () => {
      await balancer.stop();
      await stopNodes();
    },
  };
}

/** All at once, as a deployment does; all or none. */
async function startAll(
  places: readonly NodePorts[],
  env: Readonly<Record<string, string>>,
): Promise<SpawnedDrift[]> {
  const results = await Promise.allSettled(places.map((place) => startNode(place, env)));
  const nodes = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed === undefined) return nodes;
  await Promise.all(nodes.map((node) => node.kill()));
  throw failed.reason;
}

function startNode(
  place: NodePorts,
  env: Readonly<Record<string, string>>,
  program?: string,
): Promise<SpawnedDrift> {
  const addresses = {
    DRIFT_BIND_ADDR: `127.0.0.1:${place.registry}`,
    DRIFT_UI_ADDR: `127.0.0.1:${place.console}`,
  };
  return spawnDrift({ env: { ...env, ...addresses }, ...(program === undefined ? {} : { program }) });
}
