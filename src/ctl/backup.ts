import { resolve } from 'node:path';
import type { StorageConfig } from '../config/config.ts';
import { BackupExists } from '../meta/errors.ts';
import { openMetaStore } from '../meta/open-meta-store.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import type { ConfigCommandArgs } from './config-check.ts';
import { onStoredData } from './stored-data.ts';

/** `drift backup FILE`: a consistent copy of the ledger, while Drift serves or while it does not. */
export async function runBackup(args: ConfigCommandArgs, target: string): Promise<ExitCode> {
  return onStoredData(args, async (config) => {
    const path = resolve(args.cwd, target);
    const meta = await openMetaStore(config, { mode: 'read' });
    try {
      if (meta.backup === null) {
        args.stderr.write(
          `drift: ${meta.driver} is backed up by its own tools (pg_basebackup, pg_dump): see docs/backup.md.\n`,
        );
        return EXIT.USAGE;
      }
      await meta.backup(path);
    } catch (error) {
      if (!(error instanceof BackupExists)) throw error;
      args.stderr.write(`drift: ${error.message} Name a file that is not there yet, or remove it first.\n`);
      return EXIT.USAGE;
    } finally {
      await meta.close();
    }
    args.stdout.write(`The ledger was copied to ${path}. ${whereBlobsAre(config.storage)}\n`);
    return EXIT.OK;
  });
}

/** What else belongs to a backup. The bytes have to be copied after the ledger, or kept as long as its copy. */
function whereBlobsAre(storage: StorageConfig): string {
  const kept = storage.backend === 'tiered' ? (storage.tiered?.cold ?? 'fs') : storage.backend;
  const waiting =
    storage.tiered?.mode === 'write-back'
      ? `Copy ${storage.tiered.hotRoot}/backlog first: it is what the cold tier does not have yet. `
      : '';
  const places = storage.migrateFrom === 'none' ? [kept] : [kept, storage.migrateFrom];
  return waiting + places.map((backend) => whereBytesAre(backend, storage)).join(' ');
}

function whereBytesAre(backend: StorageConfig['backend'], storage: StorageConfig): string {
  if (backend === 's3') {
    return `The bucket "${storage.s3?.bucket ?? ''}" keeps its blobs for retention.min_age_days: see docs/backup.md.`;
  }
  if (backend === 'ghostbay') {
    return `Copy the data of GhostBay (bucket "${storage.ghostbay?.bucket ?? ''}") after it.`;
  }
  return `Copy ${storage.root}/blobs after it.`;
}
