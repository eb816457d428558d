import type { MetaStore } from '../meta-store.ts';
import { openPostgresMetaStore, type PostgresMetaStoreOptions } from './postgres-meta-store.ts';

/** A ledger with the limits that tests need: few parts, so that a schema is made quickly, and short waits. */
export function openTestStore(url: string, more: Partial<PostgresMetaStoreOptions> = {}): Promise<MetaStore> {
  return openPostgresMetaStore({
    url,
    mode: 'migrate',
    partitions: 4,
    connectionsMax: 10,
    waitingMax: 500,
    connectMillisMax: 2_000,
    queryMillisMax: 10_000,
    ...more,
  });
}
