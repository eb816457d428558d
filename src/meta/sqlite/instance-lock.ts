import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { LedgerNotWritable } from '../errors.ts';
import { isBusy } from './sqlite-errors.ts';

export interface InstanceLock {
  release(): Promise<void>;
}

/** A lock that the caller forgot must not be collected and thereby freed. */
const heldLocks = new Set<DatabaseSync>();

/**
 * Makes this process the only primary on `dir`; `null` when another one is. The lock is SQLite's own lock on an otherwise
 * empty file: the kernel frees it with the process, however that ends, so there is no stale lock to break.
 */
export async function acquireInstanceLock(dir: string): Promise<InstanceLock | null> {
  const file = join(dir, 'drift.lock');
  let database: DatabaseSync | undefined;
  try {
    makePrivate(file);
    database = new DatabaseSync(file, { timeout: 0 });
    database.exec('begin exclusive');
  } catch (error) {
    database?.close();
    if (isBusy(error)) return null;
    throw new LedgerNotWritable(file, `The lock file ${file} cannot be opened or written.`, error);
  }
  const held = database;
  heldLocks.add(held);
  return {
    async release() {
      if (heldLocks.delete(held)) held.close();
    },
  };
}

/** Makes the file if it is not there, and never opens one that is: closing it would free this process's lock on it. */
function makePrivate(file: string): void {
  try {
    writeFileSync(file, '', { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
