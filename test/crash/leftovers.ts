import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openFsBlobStore } from '../../src/blobs/fs/fs-blob-store.ts';
import { openMetaStore } from '../../src/meta/open-meta-store.ts';
import type { Stores } from '../../src/process/open-stores.ts';
import { removeAbandonedBlobs } from '../../src/registry/abandoned-blobs.ts';
import { withdrawEnded } from '../../src/registry/ended-uploads.ts';
import { expireUploads, sweepStaged } from '../../src/registry/expire-uploads.ts';
import { noFence } from '../../src/registry/fence.ts';
import { runDrift } from '../harness/spawn-drift.ts';

const DAY_MILLISECONDS = 24 * 60 * 60 * 1000;
/** S3 lists no more at a time. */
const LISTED_MAX = 1_000;
const ROWS_MAX = 100_000;
const IN_A_MONTH = { now: () => Date.now() + 30 * DAY_MILLISECONDS };
/** What the dead held lasts so long by a database's clock, which nobody here can set. */
const LEASE_MILLISECONDS = 10_000;

/** Of a registry that does not run and keeps everything in this directory. */
export async function checkLeftovers(dataDirectory: string): Promise<void> {
  const database = { backend: 'sqlite' as const, file: join(dataDirectory, 'drift.db') };
  const secrets = { databaseUrl: null, databaseListenUrl: null };
  const meta = await openMetaStore({ database, secrets }, { mode: 'serve', clock: IN_A_MONTH });
  const blobs = await openFsBlobStore({ root: dataDirectory });
  try {
    await checkLeftoversOf({ meta, blobs });
  } finally {
    await blobs.close();
    await meta.close();
  }
}

/** What crashes left goes with the cleaning jobs, and only what is served stays. */
export async function checkLeftoversOf({ meta, blobs }: Pick<Stores, 'meta' | 'blobs'>): Promise<void> {
  const clock = IN_A_MONTH;
  const deadline = Date.now() + 2 * LEASE_MILLISECONDS;
  do {
    await expireUploads({ meta, blobs, clock }, { limit: ROWS_MAX, fence: noFence });
  } while ((await meta.read.uploads.count()) > 0 && Date.now() < deadline && (await sleep(100, true)));
  const inTwoMonths = { now: () => clock.now() + 30 * DAY_MILLISECONDS };
  const { signal } = new AbortController();
  await withdrawEnded({ meta, blobs, clock: inTwoMonths }, { limit: ROWS_MAX, signal, fence: noFence });
  await sweepStaged({ meta, blobs, clock }, DAY_MILLISECONDS / 1000);
  assert.equal(await meta.read.uploads.count(), 0, 'every upload has expired');
  assert.deepEqual((await blobs.listStaged(null, ROWS_MAX)).entries, [], 'no staged bytes are left');
  const deps = { meta, blobs, clock, graceSeconds: DAY_MILLISECONDS / 1000 };
  await removeAbandonedBlobs(deps, { limit: ROWS_MAX, signal, fence: noFence });
  const rows = await meta.read.blobs.scan(null, ROWS_MAX);
  assert.deepEqual(
    rows.filter(({ state }) => state !== 'present'),
    [],
    'no push that died left a row',
  );
  const stored = new Set<string>();
  for (let cursor: string | null = null, isFirst = true; isFirst || cursor !== null; isFirst = false) {
    const page: Awaited<ReturnType<typeof blobs.list>> = await blobs.list(cursor, LISTED_MAX);
    for (const { location } of page.entries) stored.add(location);
    cursor = page.cursor;
  }
  for (const { location } of rows) assert.ok(stored.delete(location), `the bytes at ${location} are gone`);
  assert.deepEqual([...stored], [], 'no push that died left bytes');
}

/** `drift fsck --rehash` finds neither damage nor waste. */
export async function checkFsck(
  dataDirectory: string,
  { env = {} }: { readonly env?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const fsck = await runDrift(['fsck', '--rehash'], { dataDirectory, env });
  assert.equal(fsck.stdout.trimEnd().split('\n').at(-1), 'Ledger and blobs agree.', fsck.stdout);
  assert.equal(fsck.code, 0);
}
