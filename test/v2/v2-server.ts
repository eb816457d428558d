import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Access, openAccess } from '../../src/access/open-access.ts';
import type { BlobStore } from '../../src/blobs/blob-store.ts';
import { openFsBlobStore } from '../../src/blobs/fs/fs-blob-store.ts';
import type { Config } from '../../src/config/config.ts';
import { readConfig } from '../../src/config/read.ts';
import { createDoor } from '../../src/http/door.ts';
import { listen as listenOn } from '../../src/http/server.ts';
import { createV2 } from '../../src/http/v2/route.ts';
import { openLedgerClock } from '../../src/meta/ledger-clock.ts';
import type { MetaStore } from '../../src/meta/meta-store.ts';
import { openTemporaryMetaStore } from '../../src/meta/sqlite/temporary-meta-store.ts';
import { closeStores, openStores, type Stores } from '../../src/process/open-stores.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { type Clock, systemClock } from '../../src/std/clock.ts';
import { createTelemetry } from '../../src/telemetry/create-telemetry.ts';
import type { Telemetry } from '../../src/telemetry/telemetry.ts';
import { type NodePorts, startBalancer } from '../harness/balancer.ts';
import {
  createMigratedStores,
  NODES,
  ON_NODES,
  type StoreEnvironment,
  storeEnvironment,
} from '../harness/stack.ts';
import { ADMIN, basic, OWNER, type Person, PULLER, PUSHER, STRANGER, V2Client } from './v2-client.ts';

export interface V2Server {
  readonly client: V2Client;
  /** A second process, as far as anybody can tell: same ledger, same vault, nothing else shared. */
  readonly other: V2Client;
  /** An access token as `/token` gives it. */
  issueToken(person: Person, scope: string): Promise<string>;
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  /** Bodies that are on their way into an upload, at all servers. */
  uploadsInFlight(): Promise<number>;
  /** Moves what the registry takes for now. */
  readonly clock: { now(): number; advance(seconds: number): void };
  stop(): Promise<void>;
}

const USERS = [ADMIN, OWNER, PUSHER, PULLER, STRANGER]
  .map(({ name, password }) => `${name}:${password}`)
  .join(',');
const SCOPES = [
  `${OWNER.name}=repository:ghost/**:pull,push,delete registry:catalog:*`,
  `${PUSHER.name}=repository:ghost/**:push`,
  `${PULLER.name}=repository:ghost/**:pull registry:catalog:*`,
  `${STRANGER.name}=repository:other/**:pull,push,delete registry:catalog:*`,
].join(';');

/** The registry's door on a real socket, over a real ledger and a real vault, with real users. */
export async function startV2(env: Readonly<Record<string, string>> = {}): Promise<V2Server> {
  const directory = mkdtempSync(join(tmpdir(), 'drift-v2-'));
  const configOf = (stores: StoreEnvironment): Config => configure({ ...stores, ...env }, directory);
  const config = configOf(ON_NODES ? storeEnvironment(await createMigratedStores(configOf)) : {});
  let ahead = 0;
  const clock = {
    now: () => systemClock.now() + ahead,
    advance: (seconds: number) => {
      ahead += seconds * 1000;
    },
  };
  const telemetry = createTelemetry({ ...config.logging, version: 'test', role: 'test' });
  const stores = await openEach(config, telemetry);
  const doors: OpenedDoor[] = [];
  for (const [index, each] of stores.entries()) {
    // Two processes of one program belong to the same run, nodes do not.
    const runId = ON_NODES ? `node ${index}` : 'run';
    doors.push(await openDoor({ ...each, config, clock, telemetry, runId }));
  }
  const balancer = ON_NODES ? await startBalancer(doors.map(({ ports }) => ports)) : null;
  const [first, second] = doors as [OpenedDoor, OpenedDoor];
  // Behind nginx every request reaches the next node anyway.
  const client = new V2Client(balancer?.port ?? first.ports.registry);
  const other = new V2Client(balancer?.port ?? second.ports.registry);
  const [{ meta, blobs }] = stores as [Stores];
  return {
    client,
    other,
    issueToken: async (person, scope) => {
      const parameters = new URLSearchParams({ service: config.auth.service, scope });
      const request = { parameters, address: '127.0.0.1', authorization: [basic(person)] };
      const answer = await first.access.tokenServer.issueByQuery(request);
      return answer.token;
    },
    meta,
    blobs,
    uploadsInFlight: async () => {
      const text = await telemetry.metrics.exposition();
      return Number(/^drift_uploads_in_flight (\d+)$/m.exec(text)?.[1]);
    },
    clock,
    stop: async () => {
      client.close();
      other.close();
      await balancer?.stop();
      for (const door of doors) await door.close();
      for (const each of new Set(stores)) await closeStores(each);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function configure(env: Readonly<Record<string, string>>, directory: string): Config {
  return readConfig({
    flags: {},
    env: {
      DRIFT_USERS: USERS,
      DRIFT_USER_SCOPES: SCOPES,
      DRIFT_FS_ROOT: directory,
      DRIFT_LOG: 'off',
      DRIFT_BIND_ADDR: '127.0.0.1:0',
      DRIFT_UI_ADDR: '127.0.0.1:0',
      ...env,
    },
    cwd: directory,
  }).config;
}

/** The same stores twice, as two processes of one program have them; on nodes connections of its own for each. */
async function openEach(config: Config, telemetry: Telemetry): Promise<readonly Stores[]> {
  if (ON_NODES) return Promise.all(Array.from({ length: NODES }, () => openStores(config, telemetry)));
  const meta = await openTemporaryMetaStore();
  const blobs = await openFsBlobStore({ root: config.storage.root });
  const both = { meta, blobs, clock: await openLedgerClock(meta) };
  return [both, both];
}

interface OpenedDoor {
  readonly ports: NodePorts;
  readonly access: Access;
  close(): Promise<void>;
}

async function openDoor(
  options: Omit<Stores, 'clock'> & {
    readonly config: Config;
    readonly clock: Clock;
    readonly telemetry: Telemetry;
    readonly runId: string;
  },
): Promise<OpenedDoor> {
  const { config, clock, telemetry, runId, meta, blobs } = options;
  const access = await openAccess({
    meta,
    clock,
    metrics: telemetry.metrics,
    auth: config.auth,
    people: { users: config.auth.users, passwords: config.secrets.passwords, htpasswd: [] },
    passwordChecksMax: config.limits.passwordChecksMax,
  });
  const { guard } = access;
  const registry = createRegistry({ meta, blobs, config, clock, runId, telemetry });
  const v2 = createV2({ registry, guard, config });
  const fastify = { routing: () => {} };
  const door = createDoor({ config, v2, guard, fastify, telemetry, clock });
  const listeners = await listenOn({ config, door, telemetry });
  return {
    ports: { registry: listeners.registry.port, console: listeners.console.port },
    access,
    close: async () => {
      await listeners.close();
      await access.close();
    },
  };
}
