import assert from 'node:assert/strict';
import { readdir, readlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** What is closed by an abort is closed soon, not at once. */
const SETTLE_MILLISECONDS_MAX = 5000;

/** Paths of the files this process has open; none where the system does not tell. Sockets and pipes are not files. */
export async function openFiles(): Promise<string[]> {
  const names = await readdir('/proc/self/fd').catch(() => []);
  const paths = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return paths.filter((path) => path.startsWith('/') && !path.startsWith('/proc/')).sort();
}

/** That no file is open beside those of `before`. One of them may have been closed since: the runtime opens files too. */
export async function assertOpenFiles(before: readonly string[]): Promise<void> {
  const deadline = Date.now() + SETTLE_MILLISECONDS_MAX;
  let added = without(await openFiles(), before);
  while (added.length > 0 && Date.now() < deadline) {
    await sleep(5);
    added = without(await openFiles(), before);
  }
  assert.deepEqual(added, [], 'files are left open');
}

/** The paths of `all`, less one for each time that it stands in `some`. */
function without(all: readonly string[], some: readonly string[]): string[] {
  const left = [...all];
  for (const path of some) {
    const at = left.indexOf(path);
    if (at !== -1) left.splice(at, 1);
  }
  return left;
}
