import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Config } from '../config/config.ts';
import type { Clock } from '../std/clock.ts';
import type { Logger, Metrics } from '../telemetry/telemetry.ts';
import { LedgerNotWritable } from './errors.ts';
import type { MetaStore } from './meta-store.ts';
import { openSqliteMetaStore } from './sqlite/sqlite-meta-store.ts';

export interface OpenMetaStoreOptions {
  /** `migrate`: makes and migrates the schema; `serve`: reads and writes one that is ours; `read`: never writes. */
  readonly mode: 'migrate' | 'serve' | 'read';
  /** Memory for the bytes of manifests, where the ledger can tell that they have not changed. */
  readonly manifestCacheBytesMax?: number;
  readonly metrics?: Metrics | null;
  /** Hears what is no failure: that news of other processes do not come for a while. */
  readonly log?: Logger | null;
  /** What leases end by, where the ledger has no clock of its own; the machine's when absent. */
  readonly clock?: Clock;
}

interface MetaStoreConfig {
  readonly database: Config['database'];
  readonly secrets: Pick<Config['secrets'], 'databaseUrl'> &
    Partial<Pick<Config['secrets'], 'databaseReplicaUrls' | 'databaseListenUrl'>>;
}

/**
 * The meta store that the configuration names; PostgreSQL's driver is loaded only then. The primary opens it first, with
 * `migrate`.
 */
export async function openMetaStore(
  config: MetaStoreConfig,
  options: OpenMetaStoreOptions,
): Promise<MetaStore> {
  const { database } = config;
  if (database.backend === 'sqlite') return openSqlite(database.file, options);
  const { openPostgresMetaStore } = await import('./postgres/postgres-meta-store.ts');
  return openPostgresMetaStore({
    url: config.secrets.databaseUrl ?? '',
    replicaUrls: config.secrets.databaseReplicaUrls ?? [],
    mode: options.mode,
    partitions: database.partitions,
    connectionsMax: database.connectionsMax,
    waitingMax: database.waitingMax,
    connectMillisMax: database.connectSecondsMax * 1000,
    queryMillisMax: database.querySecondsMax * 1000,
    metrics: options.metrics ?? null,
    listenUrl: config.secrets.databaseListenUrl ?? null,
    log: options.log ?? null,
  });
}

async function openSqlite(file: string, options: OpenMetaStoreOptions): Promise<MetaStore> {
  if (options.mode === 'migrate') {
    const directory = dirname(file);
    try {
      await mkdir(directory, { recursive: true });
    } catch (error) {
      throw new LedgerNotWritable(file, `The directory ${directory} of the ledger cannot be made.`, error);
    }
  }
  return openSqliteMetaStore({ file, ...options });
}
