import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { digestOf } from '../../oci/digest.ts';
import { describeReferrer } from '../../registry/referrers.ts';
import { digestFor } from '../contract/fixture.ts';
import { digestToBytes } from '../digest-bytes.ts';
import { core } from '../migrations/001-core.ts';
import { Connection } from './connection.ts';
import { migrate, sqliteWords } from './migrate.ts';

const MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json';

/** A ledger of the first schema, as its program left it. */
function openFirst(): Connection {
  const connection = new Connection(new DatabaseSync(':memory:'));
  connection.execute(
    'create table schema_migrations (version integer primary key, name text not null, applied_at integer not null)',
    [],
  );
  for (const statement of core.statements(sqliteWords)) connection.execute(statement, []);
  connection.execute("insert into schema_migrations values (1, 'core', 1)", []);
  return connection;
}

test('migrate, from the first schema, describes the referrers that are there as a push does', () => {
  const connection = openFirst();
  const subject = digestFor('subject');
  const pushed = [
    { digest: digestFor('a'), artifactType: 'application/"quoted"', annotations: { 'a "b"': 'é\n' } },
    { digest: digestOf('sha512', Buffer.from('b')), artifactType: null, annotations: null },
  ].map((each) => ({ ...each, mediaType: MEDIA_TYPE, sizeBytes: 7 }));
  for (const { digest, artifactType, annotations, mediaType, sizeBytes } of pushed) {
    const text = annotations === null ? null : JSON.stringify(annotations);
    connection.execute('insert into manifests values (1, ?, ?, ?, ?, ?, ?, 1, ?, null, null, ?)', [
      digestToBytes(digest),
      mediaType,
      sizeBytes,
      artifactType,
      digestToBytes(subject),
      text,
      'ann',
      new Uint8Array(7),
    ]);
  }
  connection.execute('insert into manifests values (1, ?, ?, 7, null, null, null, 1, ?, null, null, ?)', [
    digestToBytes(subject),
    MEDIA_TYPE,
    'ann',
    new Uint8Array(7),
  ]);
  migrate(connection, ':memory:', 2);
  const { rows } = connection.execute('select descriptor from manifests order by digest', []);
  const found = new Set(rows.map(({ descriptor }) => descriptor));
  assert.deepEqual(found, new Set([null, ...pushed.map((each) => describeReferrer(each))]));
  connection.close();
});
