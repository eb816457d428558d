import { readFileSync } from 'node:fs';
import { freePort, isPortFree } from './free-port.ts';
import { startNginx } from './nginx.ts';
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

interface Certificate {
  readonly certificateFile: string;
  readonly keyFile: string;
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

const CONFIGURATION = new URL('../../deploy/nginx-scale-out.conf', import.meta.url);

export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const stores = options.stores ?? (await createStores());
  const places: Place[] = [];
  while (places.length < NODES) places.push({ registry: await freePort(), console: await freePort() });
  const env = { DRIFT_WORKERS: '1', ...storeEnvironment(stores), ...options.env };
  const nodes = await startAll(places, env);
  const stopNodes = () => Promise.all(nodes.map((node) => node.stop()));
  const [port, tlsPort] = [await freePort(), await freePort()];
  const { certificate = null } = options;
  const serverBlock = (down?: number) => adaptConfiguration(places, { port, tlsPort, certificate, down });
  const nginx = await startNginx({ serverBlock: serverBlock(), host: '127.0.0.1', port }).catch(
    async (error: unknown) => {
      await stopNodes();
      throw error;
    },
  );
  return {
    url: `http://127.0.0.1:${port}`,
    tlsUrl: certificate === null ? null : `https://127.0.0.1:${tlsPort}`,
    stores,
    nodes,
    kill: async (index) => {
      await nodes[index]?.kill();
    },
    restart: async (index) => {
      const place = places[index] as Place;
      // Workers that lost their primary may still hold the ports for a moment.
      while (!(await isPortFree(place.registry)) || !(await isPortFree(place.console)));
      nodes[index] = await startNode(place, env);
    },
    upgrade: async (index, program) => {
      await nginx.reload(serverBlock(index));
      await nodes[index]?.stop();
      nodes[index] = await startNode(places[index] as Place, env, program);
      await nginx.reload(serverBlock());
    },
    stop: async () => {
      await nginx.stop();
      await stopNodes();
    },
  };
}

/** The ports of one node. */
interface Place {
  readonly registry: number;
  readonly console: number;
}

/** All at once, as a deployment does; all or none. */
async function startAll(
  places: readonly Place[],
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
  place: Place,
  env: Readonly<Record<string, string>>,
  program?: string,
): Promise<SpawnedDrift> {
  const addresses = {
    DRIFT_BIND_ADDR: `127.0.0.1:${place.registry}`,
    DRIFT_UI_ADDR: `127.0.0.1:${place.console}`,
  };
  return spawnDrift({ env: { ...env, ...addresses }, ...(program === undefined ? {} : { program }) });
}

/** The configuration that operators get, with addresses of here and one more to listen at. Each stands in it once. */
function adaptConfiguration(
  places: readonly Place[],
  here: {
    readonly port: number;
    readonly tlsPort: number;
    readonly certificate: Certificate | null;
    /** A node that gets nothing. */
    readonly down: number | undefined;
  },
): string {
  const { port, tlsPort, certificate } = here;
  const tls =
    certificate === null
      ? ''
      : `listen 127.0.0.1:${tlsPort} ssl; ssl_certificate ${certificate.certificateFile}; ssl_certificate_key ${certificate.keyFile};`;
  const changes: readonly (readonly [string, string])[] = [
    ['listen 80;', `listen 127.0.0.1:${port}; ${tls}`],
    ...places.flatMap(({ registry, console }, index) => {
      const down = index === here.down ? ' down' : '';
      return [
        [`server drift-${index + 1}:5000;`, `server 127.0.0.1:${registry}${down};`] as const,
        [`server drift-${index + 1}:5001;`, `server 127.0.0.1:${console}${down};`] as const,
      ];
    }),
  ];
  let text = readFileSync(CONFIGURATION, 'utf8');
  for (const [from, to] of changes) {
    if (text.split(from).length !== 2)
      throw new Error(`the nginx configuration does not have "${from}" once`);
    text = text.replace(from, () => to);
  }
  return text;
}
