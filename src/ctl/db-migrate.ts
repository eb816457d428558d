import { dirname } from 'node:path';
import type { Config } from '../config/config.ts';
import { schemaVersion } from '../meta/migrations/index.ts';
import { openMetaStore } from '../meta/open-meta-store.ts';
import { lockDirectory } from '../process/lock-directory.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import type { ConfigCommandArgs } from './config-check.ts';
import { onStoredData } from './stored-data.ts';

/** `drift db migrate`: brings the schema to this program's version, as `drift serve` does before it serves. */
export async function runDbMigrate(args: ConfigCommandArgs): Promise<ExitCode> {
  return onStoredData(args, async (config) => {
    const lock = await lockFile(config);
    try {
      const meta = await openMetaStore(config, { mode: 'migrate' });
      await meta.close();
    } finally {
      await lock?.release();
    }
    args.stdout.write(`The ledger has what schema ${schemaVersion} of this program needs.\n`);
    return EXIT.OK;
  });
}

/** Who serves a database file relies on its schema; a server may be migrated while others of its nodes serve. */
async function lockFile({ database }: Config) {
  return database.backend === 'sqlite' ? lockDirectory(dirname(database.file)) : null;
}
