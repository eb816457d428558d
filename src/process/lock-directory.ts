import { mkdir } from 'node:fs/promises';
import { acquireInstanceLock, type InstanceLock } from '../meta/sqlite/instance-lock.ts';
import { EXIT } from '../std/exit-codes.ts';
import { StartupError } from './startup-errors.ts';

/** Makes the directory if need be, and this process the only one that works on it. Throws `StartupError`. */
export async function lockDirectory(directory: string): Promise<InstanceLock> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StartupError(unusable(directory, error), error);
  }
  const lock = await acquireInstanceLock(directory);
  if (lock !== null) return lock;
  throw new StartupError({
    sentence: `Another Drift serves the data in ${directory} already: stop it, or choose another directory.`,
    exitCode: EXIT.ALREADY_RUNNING,
  });
}

function unusable(directory: string, error: unknown) {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return { sentence: `The device of ${directory} is full.`, exitCode: EXIT.DATA_FULL };
  }
  const why =
    code === 'EEXIST' || code === 'ENOTDIR' ? 'is not a directory' : `cannot be made (${code ?? 'unknown'})`;
  return { sentence: `The data directory ${directory} ${why}.`, exitCode: EXIT.DATA_UNUSABLE };
}
