import { dirname, resolve } from 'node:path';
import { errorCode, isAbsent, translated, unavailable } from './failures.ts';
import { DIRECTORY_MODE, type FileOperations } from './file-operations.ts';
import { PROBE } from './layout.ts';

/** A probe file this old was left by a process that died in the middle of its probe. */
const PROBE_AGE_MILLISECONDS_MAX = 60_000;

/**
 * Makes the root, durable in every directory newly made for it, and resolves with its real path: the root itself may be
 * given through a symbolic link, nothing below it may be one.
 */
export async function prepareRoot(files: FileOperations, root: string): Promise<string> {
  const path = resolve(root);
  try {
    const firstMade = await files.mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
    if (firstMade !== undefined) await syncFrom(files, { from: path, upTo: dirname(firstMade) });
    const real = await files.realpath(path);
    if (!(await files.lstat(real)).isDirectory())
      throw unavailable(`the storage root ${path} is not a directory`);
    await removeOldProbes(files, real);
    return real;
  } catch (error) {
    const code = errorCode(error);
    if (code === 'EEXIST' || code === 'ENOTDIR') {
      throw unavailable(`the storage root ${path} is not a directory`, error);
    }
    throw translated(error, `use the storage root ${path}`);
  }
}

async function syncFrom(
  files: FileOperations,
  way: { readonly from: string; readonly upTo: string },
): Promise<void> {
  for (let path = way.from; ; path = dirname(path)) {
    const handle = await files.open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (path === way.upTo || path === dirname(path)) return;
  }
}

async function removeOldProbes(files: FileOperations, root: string): Promise<void> {
  for await (const entry of await files.opendir(root)) {
    if (!PROBE.test(entry.name)) continue;
    try {
      const { mtimeMs } = await files.lstat(`${root}/${entry.name}`);
      if (Date.now() - mtimeMs > PROBE_AGE_MILLISECONDS_MAX) await files.unlink(`${root}/${entry.name}`);
    } catch (error) {
      // Another process may be at it as well.
      if (!isAbsent(error)) throw error;
    }
  }
}
