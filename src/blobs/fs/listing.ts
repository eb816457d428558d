import type { Stats } from 'node:fs';
import { isAbsent } from './failures.ts';
import type { FileOperations } from './file-operations.ts';
import { FAN_OUT } from './layout.ts';

export interface ListedFile {
  /** `<branch>/<2 hex>/<name>` below the root of the listing. */
  readonly path: string;
  readonly stats: Stats;
}

interface Listing {
  readonly root: string;
  readonly branches: readonly string[];
  readonly after: string;
  readonly limit: number;
  readonly matches: (path: string) => boolean;
}

/**
 * Files in byte order of their paths, after the cursor. Keeps no more than twice `limit` names of one directory in memory,
 * passes over whatever is not ours, and needs no state between pages.
 */
export async function listFanOut(
  files: FileOperations,
  listing: Listing,
): Promise<{ files: ListedFile[]; cursor: string | null }> {
  const found: ListedFile[] = [];
  for (const branch of listing.branches) {
    for (const fanOut of await fanOuts(files, `${listing.root}/${branch}`)) {
      const directory = `${branch}/${fanOut}`;
      // `~` stands behind every hex digit: nothing in this directory comes after the cursor.
      if (`${directory}/~` <= listing.after) continue;
      const wanted = listing.limit - found.length;
      const paths = await pathsAfter(files, { ...listing, directory, limit: wanted });
      for (const path of paths) {
        const stats = await plainFile(files, `${listing.root}/${path}`);
        if (stats !== null) found.push({ path, stats });
      }
      const last = paths.at(-1);
      if (last !== undefined && paths.length === wanted) return { files: found, cursor: last };
    }
  }
  return { files: found, cursor: null };
}

async function fanOuts(files: FileOperations, path: string): Promise<string[]> {
  const names: string[] = [];
  await eachEntry(files, path, (name, isDirectory) => {
    if (isDirectory && FAN_OUT.test(name)) names.push(name);
  });
  return names.sort(byteOrder);
}

async function pathsAfter(files: FileOperations, wanted: Listing & { directory: string }): Promise<string[]> {
  let paths: string[] = [];
  await eachEntry(files, `${wanted.root}/${wanted.directory}`, (name) => {
    const path = `${wanted.directory}/${name}`;
    if (path <= wanted.after || !wanted.matches(path)) return;
    paths.push(path);
    if (paths.length >= 2 * wanted.limit) paths = paths.sort(byteOrder).slice(0, wanted.limit);
  });
  return paths.sort(byteOrder).slice(0, wanted.limit);
}

/** A missing directory has no entries. */
async function eachEntry(
  files: FileOperations,
  path: string,
  visit: (name: string, isDirectory: boolean) => void,
): Promise<void> {
  try {
    for await (const entry of await files.opendir(path)) visit(entry.name, entry.isDirectory());
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}

async function plainFile(files: FileOperations, path: string): Promise<Stats | null> {
  try {
    const stats = await files.lstat(path);
    return stats.isFile() ? stats : null;
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

function byteOrder(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
