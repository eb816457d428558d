import { access, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { BackupExists } from '../errors.ts';

/** More pages than a database can have: one step, so that writers meanwhile do not make the copy start again. */
const pagesPerStep = 0x7fff_fff0;

/**
 * Copies the ledger as it is now. The copying runs on another thread over a connection of its own; readers and writers go
 * on, only the write-ahead log grows until it is done. The target appears whole and durable, or not at all.
 */
export async function backUp(file: string, target: string): Promise<void> {
  if (await exists(target)) throw new BackupExists(target, `The backup ${target} exists already.`);
  const partial = `${target}.partial`;
  await rm(partial, { force: true });
  await makePrivateFile(partial);
  const source = new DatabaseSync(file, { readOnly: true });
  try {
    await backup(source, partial, { rate: pagesPerStep });
    await syncFile(partial);
    await rename(partial, target);
    await syncFile(dirname(target));
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  } finally {
    source.close();
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * An empty file that only its owner may read, unless it is there: a ledger holds password hashes and signing keys. SQLite
 * gives the log the same rights. Never opens a file that exists, because closing it would drop SQLite's locks.
 */
export async function makePrivateFile(path: string): Promise<void> {
  try {
    const handle = await open(path, 'wx', 0o600);
    await handle.close();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}
