import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { ByteCache } from '../../std/byte-cache.ts';
import { systemClock } from '../../std/clock.ts';
import { everyRead, everyWriteThatSearches, FEW_ROWS } from '../contract/every-query.ts';
import { DEMO } from '../contract/fixture.ts';
import type { RepositoryId } from '../meta-store.ts';
import { writeGroups } from '../queries/groups.ts';
import { type Answer, Connection } from './connection.ts';
import { type Around, kyselyOver } from './dialect.ts';
import { hotReadGroups } from './hot-reads.ts';
import { migrate } from './migrate.ts';
import { sqliteSurroundings } from './surroundings.ts';
import { UnchangedMemory } from './unchanged-memory.ts';
import { WalIndex } from './wal-index.ts';

class RecordingConnection extends Connection {
  readonly statements = new Set<string>();

  override execute(sql: string, parameters: readonly unknown[]): Answer {
    this.statements.add(sql);
    return super.execute(sql, parameters);
  }
}

const REPOSITORY = { id: 1 as RepositoryId, name: DEMO, createdAt: 1 };

let connection: RecordingConnection;

before(() => {
  connection = new RecordingConnection(new DatabaseSync(':memory:'));
  migrate(connection, ':memory:', 1);
  connection.statements.clear();
});
after(() => connection.close());

function plan(sql: string): string[] {
  const parameters = Array.from(sql.matchAll(/\?/g), () => 1);
  const rows = connection.database.prepare(`explain query plan ${sql}`).all(...parameters);
  return rows.map((row) => String(row['detail']));
}

async function askEverything(): Promise<void> {
  const plain: Around = (run) => run();
  const read = hotReadGroups(kyselyOver(connection, plain), {
    connection,
    around: plain,
    manifestBytes: new ByteCache({ bytesMax: 0, entryBytesMax: 0 }),
    memory: new UnchangedMemory(WalIndex.of(':memory:')),
    now: sqliteSurroundings(systemClock).now,
  });
  await everyRead(read, REPOSITORY);
}

async function askToWrite(): Promise<void> {
  const write = writeGroups(
    kyselyOver(connection, (run) => run()),
    sqliteSurroundings(systemClock),
  );
  await everyWriteThatSearches(write, REPOSITORY);
}

test('queries, every read and every write that searches, neither scan a table nor sort', async () => {
  await askEverything();
  await askToWrite();
  const bad: string[] = [];
  for (const sql of connection.statements) {
    if (FEW_ROWS.some((known) => known.test(sql))) continue;
    for (const step of plan(sql)) {
      // A page, found through an index and limited, is added up.
      if (/^SCAN (?!CONSTANT ROW|page$)|TEMP B-TREE/.test(step)) bad.push(`${step}: ${sql}`);
    }
  }
  assert.ok(connection.statements.size > 40);
  assert.deepEqual(bad, []);
});

test('queries, a page of referrers, reads its index and no row', async () => {
  await askEverything();
  const pages = [...connection.statements].filter((sql) => sql.includes('as "page"'));
  assert.equal(pages.length, 4);
  for (const sql of pages) {
    assert.ok(
      plan(sql).some((step) => step.includes('USING COVERING INDEX manifests_referrers')),
      sql,
    );
  }
});

test('queries, the plan check, sees a scan and a sort where there is one', () => {
  const steps = plan('select * from uploads where principal = ? order by started_at');
  assert.ok(steps.some((step) => step.startsWith('SCAN')));
  assert.ok(steps.some((step) => step.includes('TEMP B-TREE')));
});
