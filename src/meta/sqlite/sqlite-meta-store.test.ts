import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { BlobLocation } from '../../blobs/blob-store.ts';
import { Unavailable } from '../../std/unavailable.ts';
import { DEMO, digestFor, setTag } from '../contract/fixture.ts';
import { BackupExists, LedgerCorrupt, LedgerNotWritable, LedgerTooNew, LedgerTooOld } from '../errors.ts';
import { acquireInstanceLock } from './instance-lock.ts';
import { openSqliteMetaStore } from './sqlite-meta-store.ts';

const counting = fileURLToPath(import.meta.resolve('./counting-process.ts'));
let directory: string;
let files = 0;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'drift-sqlite-'));
});
after(async () => {
  await rm(directory, { recursive: true, force: true });
});

function newFile(): string {
  files += 1;
  return join(directory, `${files}.db`);
}

/** Starts the counting process; `until` resolves with its line, or rejects when it ends before. */
function count(file: string, times: number): { child: ChildProcess; until: (line: string) => Promise<void> } {
  const child = spawn(process.execPath, [counting, file, String(times)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  const until = async (wanted: string) => {
    for await (const line of lines) if (line === wanted) return;
    throw new Error(`the process ended before it said ${wanted}`);
  };
  return { child, until };
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

test('openSqliteMetaStore, killed after acknowledged commits, has them when opened again', async () => {
  const file = newFile();
  await (await openSqliteMetaStore({ file, mode: 'migrate' })).close();
  const { child, until } = count(file, 100_000);
  await until('25');
  await kill(child);
  const store = await openSqliteMetaStore({ file, mode: 'serve' });
  assert.ok(Number(await store.read.access.setting('counter')) >= 25);
  assert.deepEqual(await store.integrity(), []);
  await store.close();
});

test('transaction, three processes on one file, loses no update and blocks nobody for good', async () => {
  const file = newFile();
  const store = await openSqliteMetaStore({ file, mode: 'migrate' });
  const others = [count(file, 100), count(file, 100)];
  const mine = Array.from({ length: 100 }, () =>
    store.transaction(async (tx) => {
      const value = Number((await tx.access.setting('counter')) ?? '0');
      await tx.access.putSetting('counter', String(value + 1));
    }),
  );
  await Promise.all([...mine, ...others.map((other) => other.until('done'))]);
  assert.equal(await store.read.access.setting('counter'), '300');
  for (const other of others) await kill(other.child);
  await store.close();
});

test('transaction, many durable ones at once, share syncs', async () => {
  const store = await openSqliteMetaStore({ file: newFile(), mode: 'migrate' });
  const { id } = await store.transaction((tx) => tx.repositories.ensure(DEMO, 'ann', 1));
  const before = store.stats();
  const all = Array.from({ length: 200 }, (_, index) =>
    store.transaction((tx) => setTag(tx, id, { tag: `t${index}`, digest: digestFor('a'), by: 'ann', at: 1 })),
  );
  await Promise.all(all);
  const { waits, syncs } = store.stats();
  assert.equal(waits - before.waits, 200);
  assert.ok(syncs > before.syncs);
  // How many wait for one sync is a matter of how long the device takes; alone they would be as many as the transactions.
  assert.ok(syncs - before.syncs <= 100, `${syncs - before.syncs} syncs`);
  await store.close();
});

test('transaction, not durable, asks for no sync', async () => {
  const store = await openSqliteMetaStore({ file: newFile(), mode: 'migrate' });
  await store.transaction((tx) => tx.access.putSetting('a', 'b'), { durable: false });
  assert.deepEqual(store.stats(), { waits: 0, syncs: 0 });
  await store.close();
});

test('transaction, a ledger call after its end, is refused', async () => {
  const store = await openSqliteMetaStore({ file: newFile(), mode: 'migrate' });
  const escaped = await store.transaction(async (tx) => tx.access);
  await assert.rejects(escaped.putSetting('a', 'b'), /after its transaction had ended/);
  await store.close();
});

test('transaction, on a database that is full, is Unavailable and full, and reads go on', async () => {
  const file = newFile();
  const store = await openSqliteMetaStore({ file, mode: 'migrate' });
  const bytes = Buffer.alloc(64 * 1024, 'x').toString();
  const limited = await openSqliteMetaStore({ file, mode: 'serve', pagesMax: 100 });
  const fill = async () => {
    for (let index = 0; index < 100; index++) {
      await limited.transaction((tx) => tx.access.putSetting(`key-${index}`, bytes));
    }
  };
  await assert.rejects(fill(), (error) => error instanceof Unavailable && error.full && error.retryable);
  assert.equal(await limited.read.access.setting('key-0'), bytes);
  await store.transaction((tx) => tx.access.putSetting('after', 'room'));
  await limited.close();
  await store.close();
});

test('checkpoint, truncate, empties the log and commits stay durable after it', async () => {
  const file = newFile();
  const store = await openSqliteMetaStore({ file, mode: 'migrate' });
  await store.transaction((tx) => tx.access.putSetting('a', '1'));
  assert.ok((await stat(`${file}-wal`)).size > 0);
  await store.checkpoint?.('truncate');
  assert.equal((await stat(`${file}-wal`)).size, 0);
  await store.transaction((tx) => tx.access.putSetting('a', '2'));
  assert.ok((await stat(`${file}-wal`)).size > 0);
  assert.equal(await store.read.access.setting('a'), '2');
  await store.close();
});

test('backup, while serving, is whole, and never overwrites', async () => {
  const store = await openSqliteMetaStore({ file: newFile(), mode: 'migrate' });
  await store.transaction((tx) => tx.access.putSetting('a', '1'));
  const target = newFile();
  const writes = Array.from({ length: 20 }, (_, index) =>
    store.transaction((tx) => tx.access.putSetting(`b${index}`, '1')),
  );
  await Promise.all([store.backup?.(target), ...writes]);
  await assert.rejects(async () => await store.backup?.(target), BackupExists);
  await store.close();
  const copy = await openSqliteMetaStore({ file: target, mode: 'serve' });
  assert.equal(await copy.read.access.setting('a'), '1');
  assert.deepEqual(await copy.integrity(), []);
  await copy.close();
});

test('openSqliteMetaStore, a new ledger, its log and its backup, are readable by their owner only', async () => {
  const file = newFile();
  const target = newFile();
  const store = await openSqliteMetaStore({ file, mode: 'migrate' });
  await store.backup?.(target);
  for (const path of [file, `${file}-wal`, target]) {
    assert.equal(((await stat(path)).mode & 0o777).toString(8), '600', path);
  }
  await store.close();
});

test('openSqliteMetaStore, a newer schema, refuses in every mode', async () => {
  const file = newFile();
  await (await openSqliteMetaStore({ file, mode: 'migrate' })).close();
  const database = new DatabaseSync(file);
  database.exec("insert into schema_migrations values (99, 'from the future', 1)");
  database.close();
  for (const mode of ['migrate', 'serve', 'read'] as const) {
    await assert.rejects(openSqliteMetaStore({ file, mode }), LedgerTooNew);
  }
});

test('openSqliteMetaStore, serve, on a file never migrated, refuses', async () => {
  const file = newFile();
  await assert.rejects(openSqliteMetaStore({ file, mode: 'serve' }), LedgerTooOld);
});

test('openSqliteMetaStore, read, answers reads and refuses writes', async () => {
  const file = newFile();
  const writer = await openSqliteMetaStore({ file, mode: 'migrate' });
  await writer.transaction((tx) => tx.access.putSetting('a', '1'));
  const reader = await openSqliteMetaStore({ file, mode: 'read' });
  assert.equal(await reader.read.access.setting('a'), '1');
  await assert.rejects(
    reader.transaction((tx) => tx.access.putSetting('a', '2')),
    Unavailable,
  );
  await reader.close();
  await writer.close();
});

test('openSqliteMetaStore, a file that is no database or is damaged, is LedgerCorrupt', async () => {
  const file = newFile();
  await writeFile(file, Buffer.alloc(8192, 'not a database '));
  await assert.rejects(openSqliteMetaStore({ file, mode: 'migrate' }), LedgerCorrupt);
  const damaged = newFile();
  await (await openSqliteMetaStore({ file: damaged, mode: 'migrate' })).close();
  const handle = await open(damaged, 'r+');
  await handle.write(Buffer.alloc(3000, 0xee), 0, 3000, 100);
  await handle.close();
  await assert.rejects(openSqliteMetaStore({ file: damaged, mode: 'migrate' }), LedgerCorrupt);
});

test('transaction, another process holds the lock, waits without blocking the event loop', async () => {
  const file = newFile();
  const store = await openSqliteMetaStore({ file, mode: 'migrate' });
  const other = new DatabaseSync(file);
  other.exec('begin immediate');
  const waiting = store.transaction((tx) => tx.access.putSetting('a', '1'));
  // A read and some turns of the event loop get through meanwhile.
  assert.equal(await store.read.access.setting('a'), null);
  for (let turn = 0; turn < 10; turn++) await sleep(2);
  assert.equal(await store.read.access.setting('a'), null);
  other.exec('rollback');
  other.close();
  await waiting;
  assert.equal(await store.read.access.setting('a'), '1');
  await store.close();
});

test('blobs.claim, of a blob that collection deletes, answers deleting; place and touch refuse', async () => {
  const file = newFile();
  const store = await openSqliteMetaStore({ file, mode: 'migrate' });
  const digest = digestFor('a');
  const location = 'somewhere' as BlobLocation;
  await store.transaction((tx) => tx.blobs.claim({ digest, sizeBytes: 1, location }, 1));
  const collector = new DatabaseSync(file);
  collector.exec("update blobs set state = 'deleting'");
  collector.close();
  assert.equal(
    await store.transaction((tx) => tx.blobs.claim({ digest, sizeBytes: 1, location }, 2)),
    'deleting',
  );
  assert.equal(
    await store.transaction((tx) => tx.blobs.place({ digest, sizeBytes: 1, location }, null, 2)),
    null,
  );
  assert.equal(await store.transaction((tx) => tx.blobs.touch(digest, 2)), false);
  assert.equal((await store.read.blobs.find(digest))?.touchedAt, 1);
  await store.close();
});

test('openSqliteMetaStore, a directory that is not there, is LedgerNotWritable', async () => {
  const file = join(directory, 'missing', 'drift.db');
  await assert.rejects(openSqliteMetaStore({ file, mode: 'migrate' }), LedgerNotWritable);
});

test('openSqliteMetaStore, a path that is a directory, is LedgerNotWritable', async () => {
  await assert.rejects(openSqliteMetaStore({ file: directory, mode: 'migrate' }), LedgerNotWritable);
});

test('close, with transactions under way, finishes them; later calls are Unavailable', async () => {
  const file = newFile();
  const store = await openSqliteMetaStore({ file, mode: 'migrate' });
  const all = Array.from({ length: 20 }, (_, index) =>
    store.transaction((tx) => tx.access.putSetting(`k${index}`, '1')),
  );
  await store.close();
  await Promise.all(all);
  await assert.rejects(
    store.transaction((tx) => tx.access.putSetting('a', 'b')),
    Unavailable,
  );
  await assert.rejects(store.read.access.setting('a'), Unavailable);
  const again = await openSqliteMetaStore({ file, mode: 'serve' });
  assert.equal(await again.read.access.setting('k19'), '1');
  await again.close();
});

test('acquireInstanceLock, held, is null for a second one until it is released', async () => {
  const first = await acquireInstanceLock(directory);
  assert.notEqual(first, null);
  assert.equal(await acquireInstanceLock(directory), null);
  await first?.release();
  const second = await acquireInstanceLock(directory);
  assert.notEqual(second, null);
  await second?.release();
});

test('acquireInstanceLock, held by a process that is killed, is free at once', async () => {
  const source = `
    const { acquireInstanceLock } = await import(${JSON.stringify(join(import.meta.dirname, 'instance-lock.ts'))});
    const lock = await acquireInstanceLock(${JSON.stringify(directory)});
    process.stdout.write(lock === null ? 'taken' : 'held');
    setInterval(() => lock, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [word] = (await once(child.stdout, 'data')) as [Buffer];
  assert.equal(word.toString(), 'held');
  assert.equal(await acquireInstanceLock(directory), null);
  await kill(child);
  const lock = await acquireInstanceLock(directory);
  assert.notEqual(lock, null);
  await lock?.release();
});
