import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { UnchangedMemory } from './unchanged-memory.ts';
import { WalIndex } from './wal-index.ts';

/** Commits of another process that each have to be seen. */
const COMMITS = 2000;

let directory: string;
let file: string;
let writer: DatabaseSync;
let reader: DatabaseSync;
let index: WalIndex;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'drift-wal-index-'));
  file = join(directory, 'x.db');
  writer = new DatabaseSync(file);
  writer.exec('pragma journal_mode = wal; create table t (n integer); insert into t values (0)');
  reader = new DatabaseSync(file, { readOnly: true });
  valueOf(reader);
  index = WalIndex.of(file);
});

afterEach(async () => {
  index.close();
  reader.close();
  writer.close();
  await rm(directory, { recursive: true });
});

function valueOf(database: DatabaseSync): number {
  return Number(database.prepare('select n from t').get()?.['n']);
}

describe('WalIndex.isUnchanged', () => {
  it('the first time, knows nothing', () => {
    assert.equal(index.isUnchanged(), false);
    assert.equal(index.isUnchanged(), true);
  });

  it('after reads, an open transaction and one that was rolled back, is true', () => {
    index.isUnchanged();
    valueOf(reader);
    writer.exec('begin immediate; update t set n = 1');
    assert.equal(index.isUnchanged(), true);
    writer.exec('rollback');
    assert.equal(index.isUnchanged(), true);
  });

  it('after a commit, is false once', () => {
    index.isUnchanged();
    writer.exec('update t set n = 1');
    assert.equal(index.isUnchanged(), false);
    assert.equal(index.isUnchanged(), true);
  });

  it('after the log began anew, is false for the next commit', () => {
    writer.exec('update t set n = 1; pragma wal_checkpoint(truncate)');
    index.isUnchanged();
    writer.exec('update t set n = 2');
    assert.equal(index.isUnchanged(), false);
  });

  it('closed, or of a database without a log, is false', () => {
    index.isUnchanged();
    index.close();
    assert.equal(index.isUnchanged(), false);
    const none = WalIndex.of(join(directory, 'none.db'));
    assert.equal(none.isUnchanged(), false);
  });

  it('two of one file, one closed, leave the locks of SQLite in place', () => {
    const second = WalIndex.of(file);
    second.close();
    // Whoever could lock the whole database here would not see the connections that are open in this process.
    const script = `
      const { DatabaseSync } = require('node:sqlite');
      const database = new DatabaseSync(${JSON.stringify(file)}, { timeout: 0 });
      database.exec('pragma locking_mode = exclusive');
      try { database.exec('pragma journal_mode = delete'); process.exit(0); } catch { process.exit(7); }`;
    return writeFile(join(directory, 'lock.cjs'), script).then(async () => {
      const child = fork(join(directory, 'lock.cjs'));
      assert.deepEqual(await once(child, 'exit'), [7, null]);
    });
  });
});

describe('UnchangedMemory.recall', () => {
  it('while nothing is committed, asks once, for nothing found, too', () => {
    const memory = new UnchangedMemory(index);
    let asked = 0;
    const ask = (): null => {
      asked += 1;
      return null;
    };
    assert.equal(memory.recall('a', ask), null);
    assert.equal(memory.recall('a', ask), null);
    assert.equal(asked, 1);
    memory.recall('b', ask);
    assert.equal(asked, 2);
  });

  it('long answers, more than there is room for, are forgotten and asked for again', () => {
    const memory = new UnchangedMemory(index);
    let asked = 0;
    const ask = (key: string) =>
      memory.recall(
        key,
        () => {
          asked += 1;
          return key;
        },
        () => 6 * 1024 * 1024,
      );
    for (const key of ['a', 'b', 'a', 'b']) assert.equal(ask(key), key);
    assert.equal(asked, 2);
    for (const key of ['c', 'c', 'a']) assert.equal(ask(key), key);
    assert.equal(asked, 4);
  });

  it('another process commits, never gives what was there before', async () => {
    const script = `
      const { DatabaseSync } = require('node:sqlite');
      const database = new DatabaseSync(${JSON.stringify(file)});
      database.exec('pragma synchronous = off');
      const set = database.prepare('update t set n = ?');
      process.on('message', (n) => { set.run(n); process.send(n); });`;
    await writeFile(join(directory, 'commit.cjs'), script);
    const child = fork(join(directory, 'commit.cjs'));
    const memory = new UnchangedMemory(index);
    const recalled = (): number => memory.recall('n', () => valueOf(reader));
    for (let n = 1; n <= COMMITS; n += 1) {
      child.send(n);
      recalled();
      const [committed] = await once(child, 'message');
      assert.equal(recalled(), committed);
      assert.equal(recalled(), committed);
    }
    child.kill();
    await once(child, 'exit');
  });
});
