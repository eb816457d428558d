import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MetaStore } from '../../src/meta/meta-store.ts';
import { openMetaStore } from '../../src/meta/open-meta-store.ts';
import { basic, type HttpConnection } from './http-connection.ts';
import { type Postgres, startPostgres } from './postgres.ts';
import { runDrift, type SpawnedDrift, spawnDrift } from './spawn-drift.ts';

export const ADMIN = { name: 'admin', password: 'correct-horse-battery' };
export const ADMIN_HEADERS = basic(ADMIN.name, ADMIN.password);

/** A PostgreSQL with one database, and registries that share it, each a program of its own with a directory of its own. */
export interface NodesWorld extends AsyncDisposable {
  readonly postgres: Postgres;
  readonly url: string;
  readonly env: Readonly<Record<string, string>>;
  /** The ledger, as a further process sees it. */
  readonly meta: MetaStore;
  start(
    name: string,
    env?: Readonly<Record<string, string>>,
    within?: readonly string[],
  ): Promise<SpawnedDrift>;
  /** `drift node …`; its standard output. */
  node(...args: readonly string[]): Promise<string>;
  list(): Promise<readonly ListedNode[]>;
}

/** An entry of `drift node list --json`. */
export interface ListedNode {
  readonly name: string;
  readonly id: string;
  readonly state: string;
  readonly version: string;
  readonly schemaVersion: number;
  readonly seenSecondsAgo: number;
  readonly clockSkewMilliseconds: number;
  readonly addresses: readonly string[];
}

export async function openNodesWorld(): Promise<NodesWorld> {
  const postgres = await startPostgres({ durable: false });
  const url = await postgres.createDatabase();
  const directory = mkdtempSync(join(tmpdir(), 'drift-nodes-'));
  const env = {
    DRIFT_DATABASE_BACKEND: 'postgres',
    DRIFT_DATABASE_URL: url,
    DRIFT_DATABASE_PARTITIONS: '2',
    DRIFT_WORKERS: '1',
    DRIFT_USERS: `${ADMIN.name}:${ADMIN.password}`,
  };
  const meta = await openLedger(url);
  const started: SpawnedDrift[] = [];
  const node = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await runDrift(['node', ...args], { dataDirectory: directory, env });
    if (code !== 0) throw new Error(`drift node ${args.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  };
  return {
    postgres,
    url,
    env,
    meta,
    async start(name, more = {}, within = []) {
      const drift = await spawnDrift({ env: { ...env, DRIFT_NODE_NAME: name, ...more }, within });
      started.push(drift);
      return drift;
    },
    node,
    list: async () => JSON.parse(await node('list', '--json')) as readonly ListedNode[],
    async [Symbol.asyncDispose]() {
      await Promise.all(started.map((drift) => drift.kill()));
      await meta.close();
      await postgres[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Makes the schema, too. */
async function openLedger(url: string): Promise<MetaStore> {
  const database = {
    backend: 'postgres',
    connectionsMax: 5,
    waitingMax: 100,
    connectSecondsMax: 5,
    querySecondsMax: 30,
    partitions: 2,
  } as const;
  const secrets = { databaseUrl: url, databaseListenUrl: null };
  return openMetaStore({ database, secrets }, { mode: 'migrate' });
}

/** A PATCH that holds the upload and never sends its last bytes; the status is null when its connection breaks. */
export async function hangingPatch(
  node: { readonly url: string; readonly connection: HttpConnection },
  place: string,
): Promise<{ readonly status: Promise<number | null> }> {
  const headers = { ...ADMIN_HEADERS, 'Content-Length': '1000' };
  const call = request(new URL(place, node.url), { method: 'PATCH', headers });
  const status = new Promise<number | null>((resolve) => {
    call.on('response', (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? null);
    });
    call.on('error', () => resolve(null));
  });
  call.write(Buffer.alloc(10));
  await eventually(
    () => node.connection.ask('/metrics'),
    ({ text }) => /^drift_uploads_in_flight 1$/m.test(text),
  );
  return { status };
}

/** Looks until `isSo`; an answer that never comes is the test's own time limit. */
export async function eventually<T>(look: () => Promise<T>, isSo: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await look();
    if (isSo(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
