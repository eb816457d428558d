import { after, before } from 'node:test';
import { type PgBouncer, startPgBouncer } from '../../../test/harness/pgbouncer.ts';
import { type Postgres, startPostgres } from '../../../test/harness/postgres.ts';
import { metaStoreContract } from '../contract.ts';
import { openTestStore } from './open-test-store.ts';

let postgres: Postgres;
let pgbouncer: PgBouncer;
before(async () => {
  postgres = await startPostgres({ durable: false });
  pgbouncer = await startPgBouncer(postgres);
});
after(async () => {
  await pgbouncer[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

metaStoreContract('postgres', async () => openTestStore(await postgres.createDatabase()));

metaStoreContract('postgres behind PgBouncer', async () =>
  openTestStore(pgbouncer.through(await postgres.createDatabase())),
);
