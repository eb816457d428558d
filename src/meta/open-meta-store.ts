import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Config } from '../config/config.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import { LedgerNotWritable } from './errors.ts';
import type { MetaStore } from './meta-store.ts';
import { openSqliteMetaStore, type SqliteMetaStoreOptions } from './sqlite/sqlite-meta-store.ts';

/** The meta store that the configuration names. The primary opens it first, with `migrate`. */
export async function openMetaStore(
  config: { readonly storage: Pick<Config['storage'], 'ledgerFile'> },
  options: Pick<SqliteMetaStoreOptions, 'mode' | 'manifestCacheBytesMax'> & {
    readonly metrics?: Metrics | null;
  },
): Promise<MetaStore> {
  const file = config.storage.ledgerFile;
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
