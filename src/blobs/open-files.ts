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

export async function assertOpenFiles(expected: readonly string[]): Promise<void> {
  const deadline = Date.now() + SETTLE_MILLISECONDS_MAX;
  let found = await openFiles();
  while (found.length > expected.length && Date.now() < deadline) {
    await sleep(5);
    found = await openFiles();
  }
  assert.deepEqual(found, expected, 'files are left open');
}
