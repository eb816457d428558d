import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Unavailable } from '../../std/unavailable.ts';
import { WalSync } from './wal-sync.ts';

test('WalSync.wait, the device fails, tells all who wait and never succeeds again', async () => {
  const outcomes: string[] = [];
  // The kernel refuses to sync this device: a real failure.
  const sync = await WalSync.open('/dev/null', (_, outcome) => outcomes.push(outcome));
  const results = await Promise.allSettled([sync.wait(), sync.wait(), sync.wait()]);
  for (const result of results) {
    assert.ok(
      result.status === 'rejected' && result.reason instanceof Unavailable && !result.reason.retryable,
    );
  }
  await assert.rejects(sync.wait(), Unavailable);
  assert.ok(sync.failure instanceof Unavailable);
  assert.deepEqual(outcomes, ['error']);
  await sync.close();
});

test('WalSync.wait, asked during a sync, is answered by the next one', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'drift-wal-'));
  const file = join(directory, 'x-wal');
  await writeFile(file, 'frames');
  const asked: Promise<void>[] = [];
  let syncs = 0;
  const sync = await WalSync.open(file, () => {
    syncs += 1;
    if (asked.length === 0) asked.push(sync.wait());
  });
  await sync.wait();
  await Promise.all(asked);
  assert.equal(syncs, 2);
  assert.deepEqual(sync.stats, { waits: 2, syncs: 2 });
  await sync.close();
  await rm(directory, { recursive: true });
});
