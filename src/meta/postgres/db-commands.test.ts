import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { type Postgres, startPostgres } from '../../../test/harness/postgres.ts';
import type { BlobLocation, UploadId } from '../../blobs/blob-store.ts';
import { runDbCopy } from '../../ctl/db-copy.ts';
import { runDbMigrate } from '../../ctl/db-migrate.ts';
import { runDbStatus } from '../../ctl/db-status.ts';
import { lockDirectory } from '../../process/lock-directory.ts';
import { EXIT } from '../../std/exit-codes.ts';
import {
  DEMO,
  digestFor,
  ensure,
  LOCATION,
  manifestOf,
  placeLinked,
  put,
  setTag,
  tagged,
  uploadOf,
} from '../contract/fixture.ts';
import { KEYS } from '../ledger-tables.ts';
import type { MetaStore } from '../meta-store.ts';
import { schemaVersion } from '../migrations/index.ts';
import { openSqliteMetaStore } from '../sqlite/sqlite-meta-store.ts';
import { openTestStore } from './open-test-store.ts';

const PARTITIONS = 4;
/** More than a page of any table. */
const MANIFESTS = 40;

let postgres: Postgres;
let directory: string;
before(async () => {
  postgres = await startPostgres({ durable: false });
  directory = await mkdtemp(join(tmpdir(), 'drift-copy-'));
});
after(async () => {
  await postgres[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function ask(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(sql);
  await client.end();
}

async function copy(from: string, to: string, { force = false, partitions = PARTITIONS } = {}) {
  const written = { stdout: '', stderr: '' };
  const into = (name: keyof typeof written) => ({
    write: (text: string) => {
      written[name] += text;
    },
  });
  const code = await runDbCopy(
    { stdout: into('stdout'), stderr: into('stderr') },
    { from, to, force, partitions },
  );
  return { code, ...written };
}

async function newFile(name: string): Promise<{ file: string; url: string }> {
  const file = join(await mkdtemp(join(directory, `${name}-`)), 'drift.db');
  return { file, url: `sqlite:${file}` };
}

/** A row in every table but that of the nodes. */
async function fill(store: MetaStore): Promise<void> {
  const repository = await ensure(store);
  await placeLinked(store, repository, digestFor('blob'));
  const reference = {
    kind: 'layer',
    position: 0,
    target: digestFor('blob'),
    mediaType: 'a/b',
    sizeBytes: 3,
  } as const;
  for (let index = 0; index < MANIFESTS; index += 1) {
    await put(store, repository, manifestOf(`manifest ${index} ☃`, { references: [reference] }));
  }
  await store.transaction(async (tx) => {
    for (const [at, text] of ['manifest 0 ☃', 'manifest 1 ☃'].entries()) {
      await setTag(tx, repository.id, { tag: 'latest', digest: manifestOf(text).digest, by: 'ann', at });
    }
    await tx.manifests.delete(repository.id, manifestOf('manifest 2 ☃').digest, 'ann', 3);
    await tx.uploads.insert(uploadOf('one', { digestSoFar: digestFor('half') }));
    await tx.uploads.noteEnded('two' as UploadId, 1);
    const review = { kind: 'blob', repositoryId: null, digest: digestFor('blob'), dueAt: 9 } as const;
    await tx.queues.review({ ...review, reason: 'upload_committed' }, 1);
    await tx.queues.publish({
      kind: 'tag_set',
      repository: DEMO,
      principal: 'ann',
      occurredAt: 1,
      payload: { é: 1 },
    });
    await tx.access.putUser({ name: 'ann', passwordHash: 'x', administrator: true, changedAt: 1 }, 1);
    const token = {
      tokenHash: new Uint8Array([0, 255]),
      userName: 'ann',
      service: 's',
      clientId: 'c',
      stamp: 't',
    };
    await tx.access.putRefreshToken({ ...token, createdAt: 1, usedAt: 1, expiresAt: 2 });
    const key = { keyId: 'k', algorithm: 'ES256', privateJwk: '{}', publicJwk: '{}', createdAt: 1 };
    await tx.access.putSigningKey({ ...key, retiredAt: 2, expiresAt: 3 });
    await tx.access.putLoginFailures({ key: 'k', failures: 1, blockedUntil: 2 }, 3);
    await tx.access.putSetting('a', 'b');
    await tx.leases.take('job', 'me', 60_000);
    const places = { from: LOCATION, to: 'elsewhere' as BlobLocation };
    assert.equal(await tx.blobs.move(digestFor('blob'), places, 3), true);
  });
}

function linesOf(stdout: string): readonly string[] {
  return stdout.split('\n').filter((line) => / rows /.test(line));
}

test('db copy, from SQLite to PostgreSQL and back, keeps every row and every number', async () => {
  const [source, back] = [await newFile('source'), await newFile('back')];
  const first = await openSqliteMetaStore({ file: source.file, mode: 'migrate' });
  await fill(first);
  await first.close();
  const url = await postgres.createDatabase();
  const there = await copy(source.url, url);
  assert.equal(there.code, EXIT.OK, there.stderr);
  assert.deepEqual(
    linesOf(there.stdout).map((line) => line.split(' ')[0]),
    Object.keys(KEYS).sort(),
  );
  for (const line of linesOf(there.stdout))
    assert.match(line, /^\w+ +[1-9]\d* rows {2}[0-9a-f]{64} {2}same$/);
  const store = await openTestStore(url, { mode: 'serve' });
  const found = await store.read.manifests.getByTag(DEMO, tagged('latest'));
  assert.equal(found?.digest, manifestOf('manifest 1 ☃').digest);
  await store.close();
  const again = await copy(url, back.url);
  assert.equal(again.code, EXIT.OK, again.stderr);
  assert.deepEqual(linesOf(again.stdout), linesOf(there.stdout));
});

test('db copy, from PostgreSQL to PostgreSQL, is how a ledger gets another number of parts', async () => {
  const [from, to] = [await postgres.createDatabase(), await postgres.createDatabase()];
  const source = await openTestStore(from, { partitions: PARTITIONS });
  await fill(source);
  await source.close();
  const copied = await copy(from, to, { partitions: 2 * PARTITIONS });
  assert.equal(copied.code, EXIT.OK, copied.stderr);
  await assert.rejects(openTestStore(to, { partitions: PARTITIONS }), /made with \d+ partitions/);
  const target = await openTestStore(to, { partitions: 2 * PARTITIONS });
  const found = await target.read.manifests.getByTag(DEMO, tagged('latest'));
  assert.equal(found?.digest, manifestOf('manifest 1 ☃').digest);
  await target.close();
});

test('db copy, of a ledger whose last rows are gone, never gives their numbers again', async () => {
  const source = await newFile('numbers');
  const store = await openSqliteMetaStore({ file: source.file, mode: 'migrate' });
  await ensure(store);
  await store.close();
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(source.file);
  database.exec("update sqlite_sequence set seq = 41 where name = 'repositories'");
  database.close();
  const url = await postgres.createDatabase();
  assert.equal((await copy(source.url, url)).code, EXIT.OK);
  const copied = await openTestStore(url, { mode: 'serve' });
  const { id } = await copied.transaction((tx) => tx.repositories.ensure(tagged('other') as never, 'ann', 1));
  assert.equal(id, 42);
  await copied.close();
  const back = await newFile('numbers-back');
  assert.equal((await copy(url, back.url)).code, EXIT.OK);
  const last = await openSqliteMetaStore({ file: back.file, mode: 'serve' });
  const made = await last.transaction((tx) => tx.repositories.ensure(tagged('third') as never, 'ann', 1));
  assert.equal(made.id, 43);
  await last.close();
});

test('db copy, onto a ledger that holds something, changes nothing unless forced', async () => {
  const source = await newFile('full');
  const store = await openSqliteMetaStore({ file: source.file, mode: 'migrate' });
  await fill(store);
  await store.close();
  const url = await postgres.createDatabase();
  const target = await openTestStore(url);
  await target.transaction((tx) => tx.access.putSetting('mine', '1'));
  await target.close();
  const refused = await copy(source.url, url);
  assert.equal(refused.code, EXIT.USAGE);
  assert.match(refused.stderr, /is not empty: there are settings\. With --force/);
  assert.equal((await copy(source.url, url, { force: true })).code, EXIT.OK);
  const after = await openTestStore(url, { mode: 'serve' });
  assert.equal(await after.read.access.setting('mine'), null);
  assert.equal(await after.read.access.setting('a'), 'b');
  await after.close();
});

test('db copy, of a file that somebody serves, and of what is no ledger, says so', async () => {
  const source = await newFile('served');
  await (await openSqliteMetaStore({ file: source.file, mode: 'migrate' })).close();
  const url = await postgres.createDatabase();
  const lock = await lockDirectory(join(source.file, '..'));
  const served = await copy(source.url, url);
  assert.equal(served.code, EXIT.ALREADY_RUNNING);
  await lock.release();
  const none = await copy(await postgres.createDatabase(), source.url);
  assert.equal(none.code, EXIT.DATA_UNUSABLE);
  assert.match(none.stderr, /has schema 0/);
  assert.equal((await copy('mysql://x', url)).code, EXIT.USAGE);
});

test('db copy, whose target reads back something else, fails and keeps nothing', async () => {
  const source = await newFile('differs');
  const store = await openSqliteMetaStore({ file: source.file, mode: 'migrate' });
  await fill(store);
  await store.close();
  const url = await postgres.createDatabase();
  await (await openTestStore(url)).close();
  await ask(
    url,
    `create function later() returns trigger language plpgsql as $$ begin new.created_at := 7; return new; end $$;
     create trigger later before insert on users for each row execute function later()`,
  );
  const { code, stdout } = await copy(source.url, url);
  assert.equal(code, EXIT.FAILED);
  assert.match(stdout, /^users .* DIFFERS$/m);
  const target = await openTestStore(url, { mode: 'serve' });
  assert.equal(await target.read.access.setting('a'), null);
  await target.close();
});

test('db status and migrate, of a database before, with and after our schema, say what is to be done', async () => {
  const url = new URL(await postgres.createDatabase());
  url.password = 'top-secret';
  const env = { DRIFT_DATABASE_BACKEND: 'postgres', DRIFT_DATABASE_URL: url.href, DRIFT_FS_ROOT: directory };
  const outcome = async (command: typeof runDbStatus) => {
    let text = '';
    const sink = {
      write: (more: string) => {
        text += more;
      },
    };
    return { code: await command({ flags: {}, env, cwd: directory, stdout: sink, stderr: sink }), text };
  };
  const empty = await outcome(runDbStatus);
  assert.equal(empty.code, EXIT.FAILED);
  assert.match(empty.text, /Schema 0 lacks core, .+ run "drift db migrate"/);
  assert.equal((await outcome(runDbMigrate)).code, EXIT.OK);
  const ready = await outcome(runDbStatus);
  assert.equal(ready.code, EXIT.OK);
  assert.match(ready.text, /^postgres:127\.0\.0\.1:\d+\/\w+\n {4}1 {2}\d{4}-.+Z {2}core\n/);
  assert.doesNotMatch(ready.text, /top-secret/);
  const insert = (ahead: number, compatibleFrom: number) =>
    ask(
      url.href,
      `insert into schema_migrations values (${schemaVersion + ahead}, 'later', 1, ${compatibleFrom})`,
    );
  await insert(1, schemaVersion);
  assert.match((await outcome(runDbStatus)).text, /which may go on beside newer ones/);
  await insert(2, schemaVersion + 1);
  const tooNew = await outcome(runDbStatus);
  assert.equal(tooNew.code, EXIT.FAILED);
  assert.match(tooNew.text, /is too new/);
  assert.equal((await outcome(runDbMigrate)).code, EXIT.LEDGER_TOO_NEW);
});
