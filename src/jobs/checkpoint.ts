import { stat } from 'node:fs/promises';
import type { MetaStore } from '../meta/meta-store.ts';
import type { Job } from './job.ts';

const INTERVAL_SECONDS = 1;
/** Under writes without a pause a passive checkpoint never reaches the end and the log only grows: then wait for it. */
const WAL_BYTES_MAX = 256 * 1024 * 1024;

/**
 * Moves the write-ahead log into the database: the syncs that this needs must not happen on the event loop of a worker.
 * Null when the ledger has no log.
 */
export function checkpointJob(deps: {
  readonly meta: Pick<MetaStore, 'checkpoint'>;
  /** Null when the ledger is no file. */
  readonly ledgerFile: string | null;
}): Job | null {
  const { ledgerFile } = deps;
  const { checkpoint } = deps.meta;
  if (checkpoint === null || ledgerFile === null) return null;
  let seen = '';
  return {
    name: 'checkpoint',
    intervalSeconds: INTERVAL_SECONDS,
    scope: 'here',
    async run() {
      const { size, mtimeMs } = await stat(`${ledgerFile}-wal`);
      const state = `${size} ${mtimeMs}`;
      if (size === 0 || state === seen) return null;
      await checkpoint(size > WAL_BYTES_MAX ? 'truncate' : 'passive');
      seen = state;
      return null;
    },
  };
}
