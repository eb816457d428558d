import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  openSqliteMetaStore,
  type SqliteMetaStore,
  type SqliteMetaStoreOptions,
} from './sqlite-meta-store.ts';

/** Pages after which a lone store moves its log by itself: SQLite's own default. */
const autoCheckpointPages = 1000;

/** A ledger in a directory of its own that goes with `close`: for tests and trials. */
export async function openTemporaryMetaStore(
  options: Pick<SqliteMetaStoreOptions, 'clock'> = {},
): Promise<SqliteMetaStore & { readonly file: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'drift-ledger-'));
  const file = join(directory, 'drift.db');
  const store = await openSqliteMetaStore({ file, mode: 'migrate', autoCheckpointPages, ...options });
  const closeStore = store.close.bind(store);
  return Object.assign(store, {
    file,
    async close(): Promise<void> {
      await closeStore();
      await rm(directory, { recursive: true, force: true });
    },
  });
}
