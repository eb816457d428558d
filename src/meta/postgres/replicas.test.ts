import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { type Postgres, startPostgres, startReplica } from '../../../test/harness/postgres.ts';
import { eventually } from '../../../test/harness/wire-world.ts';
import { DEMO, digestFor, ensure, manifestOf, put, setTag, tagged } from '../contract/fixture.ts';
import type { MetaStore, Repository } from '../meta-store.ts';
import { openTestStore } from './open-test-store.ts';

let postgres: Postgres;
let replica: Postgres;
before(async () => {
  postgres = await startPostgres();
  replica = await startReplica(postgres);
});
after(async () => {
  await replica[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

interface World {
  readonly store: MetaStore;
  readonly repository: Repository;
  /** The same database on the replica. */
  readonly copy: string;
}

async function open(): Promise<World> {
  const url = await postgres.createDatabase();
  const copy = replica.url(new URL(url).pathname.slice(1));
  const store = await openTestStore(url, { replicaUrls: [copy] });
  return { store, repository: await ensure(store), copy };
}

async function ask(url: string, sql: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  try {
    await client.connect();
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

function set({ store, repository }: World, tag: string): Promise<unknown> {
  const change = { tag, digest: digestFor(tag), by: 'ann', at: 1 };
  return store.transaction((tx) => setTag(tx, repository.id, change));
}

function list({ store, repository }: World): Promise<readonly string[]> {
  return store.read.tags.list({ repository: repository.id, after: null, limit: 100 });
}

/** Whether the last question of a connection of ours to the replica was for a list of tags. */
async function answeredLast({ copy }: World): Promise<boolean> {
  const sql = `select 1 from pg_stat_activity where application_name = 'drift' and datname = current_database()
    and query like '%from "tags"%'`;
  return (await ask(copy, sql).catch(() => [])).length > 0;
}

async function comesToAnswer(world: World): Promise<void> {
  await eventually(
    async () => {
      await list(world);
      return answeredLast(world);
    },
    () => 'the replica is never asked',
  );
}

test('lists, while a replica keeps up, are answered by it and show what was just committed', async () => {
  const world = await open();
  await comesToAnswer(world);
  for (let round = 0; round < 20; round += 1) {
    await set(world, `t${round}`);
    assert.equal((await list(world)).length, round + 1);
  }
  const { store, repository } = world;
  await put(store, repository, manifestOf('m'));
  assert.deepEqual(await store.read.repositories.list({ after: null, limit: 9 }), [DEMO]);
  assert.equal((await store.read.tags.history(repository.id, tagged('t0'), 9)).length, 1);
  await store.close();
});

test('lists, while a replica replays nothing, show what was just committed, and later come from it again', async () => {
  const world = await open();
  await comesToAnswer(world);
  await ask(world.copy, 'select pg_wal_replay_pause()');
  for (let round = 0; round < 5; round += 1) {
    await set(world, `t${round}`);
    assert.equal((await list(world)).length, round + 1);
  }
  assert.deepEqual(await ask(world.copy, 'select count(*)::int as tags from tags'), [{ tags: 0 }]);
  await ask(world.copy, 'select pg_wal_replay_resume()');
  await comesToAnswer(world);
  assert.equal((await list(world)).length, 5);
  await world.store.close();
});

test('lists, while a replica is away, come from the primary, and later from it again', async () => {
  const world = await open();
  await set(world, 'before');
  await comesToAnswer(world);
  await replica.kill();
  await set(world, 'while');
  assert.deepEqual(await list(world), ['before', 'while']);
  await replica.start();
  await comesToAnswer(world);
  assert.deepEqual(await list(world), ['before', 'while']);
  await world.store.close();
});

test('lists, of a replica that is none, come from the primary', async () => {
  const url = await postgres.createDatabase();
  const store = await openTestStore(url, { replicaUrls: [await postgres.createDatabase()] });
  const repository = await ensure(store);
  await set({ store, repository, copy: '' }, 'here');
  assert.deepEqual(await list({ store, repository, copy: '' }), ['here']);
  await store.close();
});
