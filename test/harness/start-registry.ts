import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type App, startApp } from '../../src/app.ts';
import type { BlobStore } from '../../src/blobs/blob-store.ts';
import type { Config } from '../../src/config/config.ts';
import { readConfig } from '../../src/config/read.ts';
import type { MetaStore } from '../../src/meta/meta-store.ts';
import { openMetaStore } from '../../src/meta/open-meta-store.ts';
import type { Clock } from '../../src/std/clock.ts';
import { createTelemetry } from '../../src/telemetry/create-telemetry.ts';
import { type Balancer, startBalancer } from './balancer.ts';
import { createMigratedStores, NODES, ON_NODES, type StoreEnvironment, storeEnvironment } from './stack.ts';

export interface RegistryOptions {
  /** `name: password`; administrators unless `scopes` says otherwise. */
  readonly users?: Readonly<Record<string, string>> | undefined;
  /** `name: [scopes]`, in wire form. */
  readonly scopes?: Readonly<Record<string, readonly string[]>> | undefined;
  /** `storage.backend`; the ledger is SQLite in a temporary directory either way. Default: memory. On nodes: S3 and PostgreSQL. */
  readonly backend?: 'fs' | 'memory' | undefined;
  /** Environment names as in the reference: `DRIFT_LIMITS_MANIFEST_SIZE`… */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Changes what the environment cannot say. */
  readonly config?: ((config: Config) => Config) | undefined;
  readonly clock?: Clock | undefined;
  /** Data of an earlier registry, to start again on them; then they are kept. */
  readonly directory?: string | undefined;
  /** Log lines go here; nowhere when absent. */
  readonly onLog?: ((line: string) => void) | undefined;
}

/** A whole registry in this process, listening on two free ports; on nodes some of them behind nginx, each on two. */
export interface StartedRegistry {
  /** On nodes that of nginx, where each request reaches the next node. */
  readonly registryUrl: string;
  /** Of each, with nothing between. */
  readonly registryPorts: readonly number[];
  /** Of the first; so are the other parts. */
  readonly consoleUrl: string;
  readonly config: Config;
  readonly directory: string;
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  reload: App['reload'];
  /** Also removes the data, unless a directory was given. */
  stop(): Promise<void>;
}

export const ADMIN_HEADER = `Basic ${Buffer.from('admin:correct-horse-battery').toString('base64')}`;
const ADMIN_ONLY = { admin: 'correct-horse-battery' };

export async function startRegistry(options: RegistryOptions = {}): Promise<StartedRegistry> {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'drift-registry-'));
  const storesEnv = ON_NODES
    ? storeEnvironment(await createMigratedStores((env) => configure(options, directory, env)))
    : {};
  const config = configure(options, directory, storesEnv);
  const telemetry = createTelemetry({
    role: 'test',
    version: '0.0.0',
    ...config.logging,
    destination: { write: (line) => options.onLog?.(line) },
  });
  if (!ON_NODES) await (await openMetaStore(config, { mode: 'migrate' })).close();
  const { users } = config.auth;
  const apps: App[] = [];
  let balancer: Balancer | null = null;
  const stop = async (): Promise<void> => {
    await balancer?.stop();
    for (const app of apps) await app.stop(0);
    if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
  };
  try {
    while (apps.length < (ON_NODES ? NODES : 1)) {
      const app = await startApp({
        config,
        people: { users, passwords: config.secrets.passwords, htpasswd: [] },
        runId: `test-${process.pid}-${performance.now()}`,
        telemetry,
        ...(options.clock === undefined ? {} : { clock: options.clock }),
      });
      apps.push(app);
    }
    if (ON_NODES) {
      const ports = apps.map((app) => ({ registry: app.registry.port, console: app.console.port }));
      balancer = await startBalancer(ports);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const [first] = apps as [App];
  return {
    registryUrl: balancer?.url ?? `http://127.0.0.1:${first.registry.port}`,
    registryPorts: apps.map(({ registry }) => registry.port),
    consoleUrl: `http://127.0.0.1:${first.console.port}`,
    config,
    directory,
    meta: first.meta,
    blobs: first.blobs,
    reload: async (people) => {
      for (const app of apps) await app.reload(people);
    },
    stop,
  };
}

function configure(options: RegistryOptions, directory: string, stores: StoreEnvironment): Config {
  const { config } = readConfig({
    flags: {},
    cwd: directory,
    env: {
      DRIFT_BIND_ADDR: '127.0.0.1:0',
      DRIFT_UI_ADDR: '127.0.0.1:0',
      DRIFT_FS_ROOT: directory,
      DRIFT_STORAGE_RESERVE: '0',
      DRIFT_STORAGE_BACKEND: options.backend ?? 'memory',
      DRIFT_LOG_FORMAT: 'json',
      ...stores,
      ...options.env,
    },
  });
  const passwords = options.users ?? ADMIN_ONLY;
  const users = Object.keys(passwords).map((name) => ({ name, scopes: options.scopes?.[name] ?? null }));
  const full: Config = {
    ...config,
    auth: { ...config.auth, users },
    secrets: { ...config.secrets, passwords: new Map(Object.entries(passwords)) },
  };
  return options.config?.(full) ?? full;
}
