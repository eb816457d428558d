import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { startFaultProxy } from '../harness/fault-proxy.ts';
import { SERVER_CONNECTIONS, startPgBouncer } from '../harness/pgbouncer.ts';
import { type Postgres, startPostgres, startReplica } from '../harness/postgres.ts';
import { eventually } from '../harness/wire-world.ts';

describe('PostgreSQL, as tests start it', () => {
  let postgres: Postgres;
  before(async () => {
    postgres = await startPostgres();
  });
  after(() => postgres[Symbol.asyncDispose]());

  it('the server, where a suite names its version, is of that version', async () => {
    const [row] = await ask(postgres.url('postgres'), 'show server_version');
    const major = process.env.POSTGRES_VERSION ?? '\\d+';
    assert.match((row as { server_version: string }).server_version, new RegExp(`^${major}\\.`));
  });

  it('what was committed, after every process was killed, is still there', async () => {
    const url = await postgres.createDatabase();
    await ask(url, 'create table kept as select 42 as answer');
    await postgres.kill();
    await assert.rejects(ask(url, 'select 1'));
    await postgres.start();
    assert.deepEqual(await ask(url, 'select answer from kept'), [{ answer: 42 }]);
  });

  it('a database, from a template, holds what the template holds', async () => {
    const template = await postgres.createDatabase();
    await ask(template, 'create table kept as select 42 as answer');
    const url = await postgres.createDatabase({ template });
    assert.deepEqual(await ask(url, 'select answer from kept'), [{ answer: 42 }]);
  });

  it('a replica, after a commit on its primary, comes to hold it', async () => {
    const url = await postgres.createDatabase();
    await using replica = await startReplica(postgres);
    await ask(url, 'create table kept as select 42 as answer');
    const copy = replica.url(new URL(url).pathname.slice(1));
    let seen: unknown = null;
    await eventually(
      async () => {
        seen = await ask(copy, 'select answer from kept').catch(String);
        return Array.isArray(seen);
      },
      () => String(seen),
    );
    assert.deepEqual(seen, [{ answer: 42 }]);
    await assert.rejects(ask(copy, 'create table mine ()'), { code: '25006' });
  });

  it('a connection, through a proxy that can fail, is lost when the line is and made again after', async () => {
    const url = await postgres.createDatabase();
    await using proxy = await startFaultProxy({ targetPort: postgres.port, protocol: 'tcp' });
    const through = proxy.through(url);
    const client = await open(through);
    const lost = new Promise((resolve) => client.on('error', resolve));
    await proxy.set({ kind: 'refuse' });
    await lost;
    await assert.rejects(ask(through, 'select 1'), { code: 'ECONNREFUSED' });
    await proxy.set({ kind: 'pass' });
    assert.deepEqual(await ask(through, 'select 1 as one'), [{ one: 1 }]);
    await client.end();
  });

  it('twenty clients, connected through the pooler at once, share fewer connections', async () => {
    const url = await postgres.createDatabase();
    await using pooler = await startPgBouncer(postgres);
    const clients = await Promise.all(Array.from({ length: 20 }, () => open(pooler.through(url))));
    try {
      const answers = await Promise.all(
        clients.map((client) => client.query<{ pid: number }>('select pg_backend_pid() as pid')),
      );
      const processes = new Set(answers.map(({ rows }) => rows[0]?.pid));
      assert.ok(processes.size <= SERVER_CONNECTIONS, `${processes.size} connections`);
    } finally {
      await Promise.all(clients.map((client) => client.end()));
    }
  });
});

async function open(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

async function ask(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query<object>(sql)).rows.map((row) => ({ ...row }));
  } finally {
    await client.end().catch(() => {});
  }
}
