import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import type { UploadId } from '../../blobs/blob-store.ts';
import { ByteCache } from '../../std/byte-cache.ts';
import { DEMO, digestFor, manifestOf, tagged, uploadOf } from '../contract/fixture.ts';
import type { RepositoryId } from '../meta-store.ts';
import { writeGroups } from '../queries/groups.ts';
import { type Answer, Connection } from './connection.ts';
import { type Around, kyselyOver } from './dialect.ts';
import { hotReadGroups } from './hot-reads.ts';
import { migrate } from './migrate.ts';
import { UnchangedMemory } from './unchanged-memory.ts';
import { WalIndex } from './wal-index.ts';

class RecordingConnection extends Connection {
  readonly statements = new Set<string>();

  override execute(sql: string, parameters: readonly unknown[]): Answer {
    this.statements.add(sql);
    return super.execute(sql, parameters);
  }
}

/** Few rows by nature (valid keys, copies of one blob, people, open uploads), said where they are written. */
const small = [
  /from "signing_keys".*order by/,
  /from "links".*order by "r"."name"/,
  /select count\(\*\) as "count" from "/,
];
const ID = 1 as RepositoryId;
const DIGEST = digestFor('a');
const HASH = new Uint8Array([1]);

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

async function everyRead(): Promise<void> {
  const plain: Around = (run) => run();
  const read = hotReadGroups(kyselyOver(connection, plain), {
    connection,
    around: plain,
    manifestBytes: new ByteCache({ bytesMax: 0, entryBytesMax: 0 }),
    memory: new UnchangedMemory(WalIndex.of(':memory:')),
  });
  const scanned = { ...manifestOf('m'), repositoryId: ID, repository: DEMO, live: true };
  await read.repositories.find(DEMO);
  await read.repositories.list({ after: 'a', limit: 9 });
  await read.manifests.getByTag(DEMO, tagged('t'));
  await read.manifests.getByDigest(DEMO, DIGEST);
  await read.manifests.state(ID, DIGEST);
  await read.manifests.liveAmong(ID, [DIGEST, digestFor('b')]);
  await read.manifests.references(ID, DIGEST);
  const referrers = { repository: ID, subject: DIGEST, after: DIGEST, limit: 9 };
  for (const artifactType of [null, 'a']) {
    await read.manifests.referrersSize({ ...referrers, artifactType });
    await read.manifests.referrersText({ ...referrers, artifactType });
  }
  await read.manifests.referencedBy(ID, DIGEST);
  await read.manifests.parents({ repository: ID, target: DIGEST, after: DIGEST, limit: 9 });
  await read.manifests.scan(scanned, 9);
  await read.tags.find(ID, tagged('t'));
  await read.tags.list({ repository: ID, after: 'a', limit: 9 });
  await read.tags.onManifest(ID, DIGEST);
  await read.tags.history(ID, tagged('t'), 9);
  await read.blobs.findLinked(DEMO, DIGEST);
  await read.blobs.find(DIGEST);
  await read.blobs.linkedAmong(ID, [DIGEST, digestFor('b')]);
  await read.blobs.repositoriesLinking(DIGEST, 'a', 9);
  await read.blobs.scan(DIGEST, 9);
  await read.blobs.scanLinks({ repositoryId: ID, repository: DEMO, digest: DIGEST, blobState: null }, 9);
  await read.uploads.find('a' as UploadId);
  await read.uploads.expired(1, 9);
  await read.uploads.known(['a' as UploadId, 'b' as UploadId]);
  await read.uploads.count();
  await read.access.user('a');
  await read.access.countUsers();
  await read.access.refreshToken(HASH);
  await read.access.signingKeys(1);
  await read.access.loginFailures(['a', 'b'], 1);
  await read.access.setting('a');
  await read.queues.reviews({ dueBefore: null, limit: 9 });
  await read.queues.events({ afterId: 1, limit: 9 });
}

async function writesThatSearch(): Promise<void> {
  const write = writeGroups(kyselyOver(connection, (run) => run()));
  await write.tags.set(ID, { tag: tagged('t'), before: digestFor('b'), digest: DIGEST }, 'a', 1);
  await write.tags.end(ID, tagged('t'), 'a', 1, 'deleted');
  await write.manifests.delete(ID, DIGEST, 'a', 1);
  await write.blobs.touch(DIGEST, 1);
  await write.blobs.abandon({ claimedBefore: 1, markedBefore: 2, at: 3, limit: 9 });
  await write.blobs.forget(DIGEST);
  await write.blobs.touchAmong([DIGEST, digestFor('b')], 1);
  await write.blobs.unlink(ID, DIGEST);
  await write.uploads.insert(uploadOf('a'));
  await write.uploads.acquire('a' as UploadId, 'x', 5, 1);
  await write.uploads.release('a' as UploadId, 'x', {
    offsetBytes: 1,
    digestSoFar: null,
    hashedInRun: null,
    expiresAt: 1,
  });
  await write.uploads.delete('a' as UploadId, 'x');
  await write.access.expire(1, 9);
  await write.leases.take('a', 'b', 2, 1);
}

test('queries, every read and every write that searches, neither scan a table nor sort', async () => {
  await everyRead();
  await writesThatSearch();
  const bad: string[] = [];
  for (const sql of connection.statements) {
    if (small.some((known) => known.test(sql))) continue;
    for (const step of plan(sql)) {
      // A page, found through an index and limited, is added up.
      if (/^SCAN (?!CONSTANT ROW|page$)|TEMP B-TREE/.test(step)) bad.push(`${step}: ${sql}`);
    }
  }
  assert.ok(connection.statements.size > 40);
  assert.deepEqual(bad, []);
});

test('queries, a page of referrers, reads its index and no row', async () => {
  await everyRead();
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
