import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { type FaultProxy, startFaultProxy } from '../../../test/harness/fault-proxy.ts';
import { startPgBouncer } from '../../../test/harness/pgbouncer.ts';
import { type Postgres, SUPERUSER, startPostgres } from '../../../test/harness/postgres.ts';
import { Unavailable } from '../../std/unavailable.ts';
import type { MetaStore } from '../meta-store.ts';
import { openTestStore } from './open-test-store.ts';

const CONNECT_MILLISECONDS = 1_000;
/** Nothing here may depend on it. */
const QUERY_MILLISECONDS = 120_000;
/** A doubt, a look for a connection, and what a busy machine adds. */
const FOUND_OUT_MILLISECONDS_MAX = CONNECT_MILLISECONDS + 5_000;
const AT_ONCE_MILLISECONDS_MAX = 400;
/** Long enough that those who wait have doubted more than once. */
const LOCKED_MILLISECONDS = 3_000;

let postgres: Postgres;
let line: FaultProxy;
before(async () => {
  postgres = await startPostgres({ durable: false });
  line = await startFaultProxy({ protocol: 'tcp', targetPort: postgres.port });
});
after(async () => {
  await line[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const LIMITS = { connectMillisMax: CONNECT_MILLISECONDS, queryMillisMax: QUERY_MILLISECONDS };

function isAway(error: unknown): boolean {
  return error instanceof Unavailable && error.retryable && error.part === 'meta store';
}

/** How long it takes until the work is refused. */
async function millisecondsUntilRefused(work: () => Promise<unknown>): Promise<number> {
  const since = performance.now();
  await assert.rejects(work, isAway);
  return performance.now() - since;
}

/** Keeps whoever wants the table waiting; resolves once that holds, and to what waits for the end of it. */
async function lockTable(
  url: string,
  table: 'settings' | 'schema_migrations',
): Promise<{ readonly end: Promise<void> }> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('begin');
  await client.query(`lock table ${table} in access exclusive mode`);
  const end = async (): Promise<void> => {
    await client.query('select pg_sleep($1)', [LOCKED_MILLISECONDS / 1_000]);
    await client.query('commit');
    await client.end();
  };
  return { end: end() };
}

test('a line, that swallows what is sent over connections that stand, is found out and nobody waits longer', async () => {
  const said: string[] = [];
  const log = {
    warn: (_: unknown, text?: string) => said.push(text ?? ''),
    info: (text: unknown) => said.push(text as string),
  };
  const store = await openTestStore(line.through(await postgres.createDatabase()), { ...LIMITS, log });
  const read = () => store.read.access.setting('a');
  const write = () => store.transaction((tx) => tx.access.putSetting('a', 'b'));
  // As many connections as there may be, none of which will say why it is silent.
  await Promise.all(Array.from({ length: 10 }, write));
  const halfDone = Promise.withResolvers<void>();
  const goesOn = Promise.withResolvers<void>();
  const half = store.transaction(async (tx) => {
    await tx.access.putSetting('half', 'done');
    halfDone.resolve();
    await goesOn.promise;
    await tx.access.putSetting('other half', 'done');
  });
  const halfRefused = assert.rejects(half, isAway);
  await halfDone.promise;
  await line.set({ kind: 'hang' });
  const all = Array.from({ length: 40 }, (_, index) =>
    millisecondsUntilRefused(index % 2 === 0 ? read : write),
  );
  for (const milliseconds of await Promise.all(all)) assert.ok(milliseconds < FOUND_OUT_MILLISECONDS_MAX);
  goesOn.resolve();
  await halfRefused;
  for (let request = 0; request < 50; request += 1) {
    assert.ok((await millisecondsUntilRefused(read)) < AT_ONCE_MILLISECONDS_MAX);
    assert.ok((await millisecondsUntilRefused(write)) < AT_ONCE_MILLISECONDS_MAX);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await line.set({ kind: 'pass' });
  await untilAnswered(store);
  assert.equal(await store.read.access.setting('half'), null);
  await write();
  assert.deepEqual(said, [
    'the database does not answer: who needs it is refused until it does',
    'the database answers again',
  ]);
  await store.close();
});

test('a line, that swallows everything, does not keep a store from closing', async () => {
  const store = await openTestStore(line.through(await postgres.createDatabase()), LIMITS);
  store.notices.subscribe(() => {});
  await line.set({ kind: 'hang' });
  const refused = assert.rejects(store.read.access.setting('a'), isAway);
  await new Promise((resolve) => setTimeout(resolve, 20));
  await Promise.all([refused, store.close()]);
  await line.set({ kind: 'pass' });
});

test('a migration, that waits while the line swallows everything for a while, is not cut short', async () => {
  const url = await postgres.createDatabase();
  await (await openTestStore(url)).close();
  const locked = await lockTable(url, 'schema_migrations');
  const opening = openTestStore(line.through(url), LIMITS);
  await new Promise((resolve) => setTimeout(resolve, LOCKED_MILLISECONDS / 10));
  await line.set({ kind: 'hang' });
  await locked.end;
  await line.set({ kind: 'pass' });
  await (await opening).close();
});

test('a statement, that waits in a database which answers others, goes on', async () => {
  const url = await postgres.createDatabase();
  const store = await openTestStore(url, LIMITS);
  const locked = await lockTable(url, 'settings');
  assert.equal(await store.read.access.setting('a'), null);
  await locked.end;
  await store.close();
});

test('a statement, that waits in a database which takes no new connection, goes on, and so do others', async () => {
  const url = await postgres.createDatabase();
  await (await openTestStore(url)).close();
  const name = `limited_${new URL(url).pathname.slice(1)}`;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`create role ${name} login connection limit 2`);
  await client.query(`grant all on all tables in schema public to ${name}`);
  await client.end();
  const limited = url.replace(`//${SUPERUSER}@`, `//${name}@`);
  const store = await openTestStore(limited, { ...LIMITS, mode: 'read', connectionsMax: 2 });
  const locked = await lockTable(url, 'settings');
  let isLocked = true;
  const waiting = store.read.access.setting('a');
  const others = (async () => {
    for (; isLocked; await new Promise((resolve) => setTimeout(resolve, 50)))
      await store.read.blobs.scan(null, 1);
  })();
  await locked.end;
  isLocked = false;
  assert.equal(await waiting, null);
  await others;
  await store.close();
});

test('a statement, that waits in a database whose pooler has no connection left, goes on, and so do others', async () => {
  const url = await postgres.createDatabase();
  await using pooler = await startPgBouncer(postgres, { serverConnections: 2 });
  const store = await openTestStore(pooler.through(url), LIMITS);
  const locked = await lockTable(url, 'settings');
  const waiting = Array.from({ length: 5 }, () => store.read.access.setting('a'));
  const others = Array.from({ length: 3 }, () => store.read.blobs.scan(null, 1));
  assert.deepEqual(
    await Promise.all(waiting),
    Array.from(waiting, () => null),
  );
  await Promise.all([...others, locked.end]);
  await store.close();
});

test('a connection, that a pooler refuses because it has too many, takes nothing from those that stand', async () => {
  const url = await postgres.createDatabase();
  await using pooler = await startPgBouncer(postgres, { clientConnections: 3 });
  const store = await openTestStore(pooler.through(url), LIMITS);
  const locked = await lockTable(url, 'settings');
  const waiting = Array.from({ length: 3 }, () => store.read.access.setting('a'));
  const isOver = locked.end.then(() => true);
  const pause = () => new Promise<false>((resolve) => setTimeout(() => resolve(false), 50));
  while (!(await Promise.race([isOver, pause()])))
    await assert.rejects(store.read.blobs.scan(null, 1), isAway);
  assert.deepEqual(await Promise.all(waiting), [null, null, null]);
  // Nobody was told that the database is away.
  await store.read.blobs.scan(null, 1);
  await store.close();
});

async function untilAnswered(store: MetaStore): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    try {
      await store.read.access.setting('a');
      return;
    } catch (error) {
      if (!isAway(error) || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
