import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { Unavailable } from '../../std/unavailable.ts';
import { WalIndex } from './wal-index.ts';
import { WalSync } from './wal-sync.ts';

test('WalSync.wait, the device fails, tells all who wait and does not succeed before it was mended', async () => {
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
  await assert.rejects(
    sync.mend(() => ({ frames: 0, checksum: [0, 0] })),
    Unavailable,
  );
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

test('WalSync.mend, a log that reads back, writes all of it again and lets commits wait for the device again', async (t) => {
  const { database, file } = await ledgerWithLog(t);
  const sync = await WalSync.open(`${file}-wal`, () => undefined);
  t.after(() => sync.close());
  sync.doubt(new Error('EIO'));
  await assert.rejects(sync.wait(), Unavailable);
  const before = await readFile(`${file}-wal`);
  await utimes(`${file}-wal`, 1, 1);
  await sync.mend(() => WalIndex.of(file).committed());
  assert.equal(sync.failure, null);
  await sync.wait();
  assert.ok((await stat(`${file}-wal`)).mtimeMs > 1000, 'it was written');
  assert.ok((await readFile(`${file}-wal`)).equals(before));
  assert.equal(database.prepare('select count(*) as count from numbers').get()?.['count'], 50);
});

test('WalSync.mend, a committed frame that does not read back, fails', async (t) => {
  const { file } = await ledgerWithLog(t);
  const sync = await WalSync.open(`${file}-wal`, () => undefined);
  t.after(() => sync.close());
  sync.doubt(new Error('EIO'));
  const log = await readFile(`${file}-wal`);
  const lost = log.length - 100;
  log.writeUInt8(log.readUInt8(lost) ^ 1, lost);
  await writeFile(`${file}-wal`, log);
  await assert.rejects(
    sync.mend(() => WalIndex.of(file).committed()),
    Unavailable,
  );
  assert.ok(sync.failure instanceof Unavailable);
});

async function ledgerWithLog(t: TestContext): Promise<{ database: DatabaseSync; file: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'drift-wal-'));
  const file = join(directory, 'x');
  const database = new DatabaseSync(file);
  t.after(async () => {
    if (database.isOpen) database.close();
    await rm(directory, { recursive: true });
  });
  database.exec(
    'pragma journal_mode = wal; pragma wal_autocheckpoint = 0; create table numbers (number integer)',
  );
  for (let number = 0; number < 50; number += 1) {
    database.exec(`insert into numbers values (${number})`);
  }
  return { database, file };
}
