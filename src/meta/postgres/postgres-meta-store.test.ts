import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { type Postgres, startPostgres } from '../../../test/harness/postgres.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Unavailable } from '../../std/unavailable.ts';
import { DEMO, digestFor, ensure, manifestOf, named, put, setTag, tagged } from '../contract/fixture.ts';
import { LedgerError, LedgerTooNew, LedgerTooOld } from '../errors.ts';
import type { MetaStore } from '../meta-store.ts';
import { schemaVersion } from '../migrations/index.ts';
import { requireServer } from './migrate.ts';
import { openTestStore } from './open-test-store.ts';

/** Far below any limit of the pool: what is known to be away is not waited for. */
const AT_ONCE_MILLISECONDS = 400;

let postgres: Postgres;
before(async () => {
  postgres = await startPostgres();
});
after(() => postgres[Symbol.asyncDispose]());

async function answer(url: string, sql: string): Promise<readonly unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query(sql);
  await client.end();
  return rows;
}

async function ask(url: string, sql: string): Promise<void> {
  await answer(url, sql);
}

function isAway(error: unknown): boolean {
  return error instanceof Unavailable && error.retryable && error.part === 'meta store';
}

async function recovered(store: MetaStore): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    try {
      await ensure(store);
      return;
    } catch (error) {
      if (!isAway(error) || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

test('a database, killed and started again, is away at once and back without a restart', async () => {
  const store = await openTestStore(await postgres.createDatabase());
  await ensure(store);
  await postgres.kill();
  await assert.rejects(store.read.repositories.find(DEMO), isAway);
  const start = performance.now();
  for (let request = 0; request < 50; request += 1) {
    await assert.rejects(store.read.repositories.find(DEMO), isAway);
    await assert.rejects(ensure(store), isAway);
  }
  assert.ok(performance.now() - start < 50 * AT_ONCE_MILLISECONDS);
  await postgres.start();
  await recovered(store);
  assert.equal((await store.read.repositories.find(DEMO))?.name, DEMO);
  await store.close();
});

test('a transaction, whose connection ends in the middle, fails and leaves nothing', async () => {
  const url = await postgres.createDatabase();
  const store = await openTestStore(url);
  const broken = store.transaction(async (tx) => {
    await tx.access.putSetting('half', 'done');
    await ask(
      url,
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    );
    await tx.access.putSetting('other half', 'done');
  });
  await assert.rejects(broken, isAway);
  assert.equal(await store.read.access.setting('half'), null);
  await store.close();
});

test('a transaction, of more callers than there are connections and places to wait, is refused', async () => {
  const store = await openTestStore(await postgres.createDatabase(), { connectionsMax: 1, waitingMax: 2 });
  const holds = Promise.withResolvers<void>();
  const goesOn = Promise.withResolvers<void>();
  const holding = store.transaction(async () => {
    holds.resolve();
    await goesOn.promise;
  });
  await holds.promise;
  const others = Array.from({ length: 8 }, () => store.read.access.setting('a'));
  const refused = await Promise.race([
    Promise.allSettled(others.slice(2)),
    new Promise<never>((_, reject) => setTimeout(() => reject(new Error('they wait')), 1_500)),
  ]);
  assert.deepEqual(new Set(refused.map(({ status }) => status)), new Set(['rejected']));
  goesOn.resolve();
  await holding;
  assert.equal(await others[0], null);
  await store.close();
});

test('a transaction, that is to be durable, waits for the disk also where the database is set not to', async () => {
  const url = await postgres.createDatabase();
  const name = new URL(url).pathname.slice(1);
  await ask(url, `alter database "${name}" set synchronous_commit = off`);
  await ask(
    url,
    `create table seen (setting text);
     create function see() returns trigger language plpgsql as $$ begin
       insert into seen values (current_setting('synchronous_commit')); return new; end $$`,
  );
  const store = await openTestStore(url);
  await ask(url, 'create trigger see after insert on settings for each row execute function see()');
  await store.transaction((tx) => tx.access.putSetting('a', '1'));
  await store.transaction((tx) => tx.access.putSetting('b', '1'), { durable: false });
  assert.deepEqual(await answer(url, 'select setting from seen'), [{ setting: 'on' }, { setting: 'off' }]);
  await store.close();
});

test('a database, whose connections are all in use, is busy and not away', async () => {
  const url = await postgres.createDatabase();
  const store = await openTestStore(url, { connectionsMax: 2, connectMillisMax: 200 });
  const holds = Promise.withResolvers<void>();
  const goesOn = Promise.withResolvers<void>();
  const hold = (): Promise<void> =>
    store.transaction(async () => {
      holds.resolve();
      await goesOn.promise;
    });
  const both = [hold(), hold()];
  await holds.promise;
  await assert.rejects(store.read.access.setting('a'), isAway);
  goesOn.resolve();
  await Promise.all(both);
  // Nobody was told that the database is away, who came right after.
  assert.equal(await store.read.access.setting('a'), null);
  await store.close();
});

test('open, a schema of a newer program, is refused unless that says we may go on beside it', async () => {
  const url = await postgres.createDatabase();
  await (await openTestStore(url)).close();
  const newer = (compatibleFrom: number) =>
    `delete from schema_migrations where version > ${schemaVersion};
     insert into schema_migrations values (${schemaVersion + 1}, 'later', 1, ${compatibleFrom})`;
  await ask(url, newer(schemaVersion));
  for (const mode of ['serve', 'migrate', 'read'] as const)
    await (await openTestStore(url, { mode })).close();
  await ask(url, newer(schemaVersion + 1));
  for (const mode of ['serve', 'migrate', 'read'] as const) {
    await assert.rejects(openTestStore(url, { mode }), LedgerTooNew);
  }
});

test('requireSchema, once a newer program has made the schema another, says so', async () => {
  const url = await postgres.createDatabase();
  const store = await openTestStore(url);
  await store.requireSchema?.();
  const later = (compatibleFrom: number) =>
    ask(
      url,
      `insert into schema_migrations values (${schemaVersion + compatibleFrom}, 'later', 1, ${compatibleFrom})`,
    );
  await later(schemaVersion);
  await store.requireSchema?.();
  await later(schemaVersion + 1);
  await assert.rejects(async () => store.requireSchema?.(), LedgerTooNew);
  await store.close();
});

test('open, to migrate while a node serves that could not go on, is refused and changes nothing', async () => {
  const url = await postgres.createDatabase();
  await (await openTestStore(url)).close();
  const node = (name: string, schema: number, seenFor: string) =>
    `insert into nodes values ('${name}', '${name}', '1', ${schema}, '[]', 1, 1,
      (extract(epoch from clock_timestamp() + interval '${seenFor}') * 1000)::bigint, 0, 0)`;
  await ask(
    url,
    `${node('old', 4, '1 hour')}; ${node('dead', 4, '-1 second')}; ${node('able', 5, '1 hour')}`,
  );
  // Nothing to do: whoever serves goes on.
  await (await openTestStore(url)).close();
  await ask(url, 'delete from schema_migrations where version > 5; drop table moved_blobs, ended_uploads');
  await assert.rejects(
    openTestStore(url),
    (error) => error instanceof LedgerError && error.message.endsWith('stop these nodes first: old.'),
  );
  assert.deepEqual(await answer(url, 'select max(version)::int as version from schema_migrations'), [
    { version: 5 },
  ]);
  await ask(url, "delete from nodes where id = 'old'");
  await (await openTestStore(url)).close();
});

test('requireServer, of an older PostgreSQL than is known to work, says which it is', async () => {
  const server = (number: string, name: string) => ({
    run: async () => ({ rows: [{ number, name }], changes: 0, command: 'SELECT' }),
  });
  await assert.rejects(
    requireServer(server('140012', 'PostgreSQL 14.12 on x86_64-pc-linux-gnu, compiled by gcc'), 'db/drift'),
    /db\/drift is on PostgreSQL 14\.12: Drift needs PostgreSQL 15 or newer/,
  );
  await requireServer(server('150001', 'PostgreSQL 15.1'), 'db/drift');
});

test('open, without a schema and not to migrate, says so; with other partitions too', async () => {
  const url = await postgres.createDatabase();
  await assert.rejects(openTestStore(url, { mode: 'serve' }), LedgerTooOld);
  await (await openTestStore(url)).close();
  await assert.rejects(
    openTestStore(url, { partitions: 8 }),
    (error) => error instanceof LedgerError && /made with 4 partitions/.test(error.message),
  );
});

test('open, by many at once on an empty database, migrates once', async () => {
  const url = await postgres.createDatabase();
  const stores = await Promise.all(Array.from({ length: 6 }, () => openTestStore(url)));
  for (const store of stores) await recovered(store);
  for (const store of stores) await store.close();
});

test('a password, in the address, stands in no error', async () => {
  const url = new URL(await postgres.createDatabase());
  url.password = 'top-secret';
  await assert.rejects(
    openTestStore(url.href, { mode: 'serve' }),
    (error) => error instanceof LedgerTooOld && !error.message.includes('top-secret'),
  );
});

test('reads, of a repository under its name, find what was made after they first missed it', async () => {
  const store = await openTestStore(await postgres.createDatabase());
  assert.equal(await store.read.blobs.findLinked(DEMO, digestFor('a')), null);
  await ensure(store);
  assert.equal(await store.read.blobs.findLinked(DEMO, digestFor('a')), null);
  await store.close();
});

test('reads, while a part of a table does not answer, go on in the others', async () => {
  const url = await postgres.createDatabase();
  const store = await openTestStore(url, { queryMillisMax: 500 });
  const names = Array.from({ length: 9 }, (_, index) => named(`parts/${index}`));
  for (const name of names) {
    const repository = await ensure(store, name);
    await put(store, repository, manifestOf('one'));
    await store.transaction((tx) =>
      setTag(tx, repository.id, { tag: 'one', digest: manifestOf('one').digest, by: 'ann', at: 1 }),
    );
  }
  const parts = await answer(
    url,
    'select r.name, t.tableoid::regclass::text as part from tags t join repositories r on r.id = t.repository_id',
  );
  const partOf = new Map(parts.map((row) => [(row as Part).name, (row as Part).part]));
  const locked = partOf.get(names[0] ?? '');
  const others = names.filter((name) => partOf.get(name) !== locked);
  assert.ok(others.length > 3);
  const locker = new pg.Client({ connectionString: url });
  await locker.connect();
  await locker.query(`begin; lock table ${locked} in access exclusive mode`);
  const read = (name: RepositoryName) => store.read.manifests.getByTag(name, tagged('one'));
  // Together they fare as the worst of them; after that each is on its own.
  await Promise.allSettled(names.map(read));
  const stillStuck = assert.rejects(read(names[0] as RepositoryName), isAway);
  const found = await Promise.all(others.map(read));
  assert.ok(found.every((manifest) => manifest?.digest === manifestOf('one').digest));
  await stillStuck;
  await locker.end();
  await store.close();
});

interface Part {
  readonly name: string;
  readonly part: string;
}
