import { after, before } from 'node:test';
import { type Postgres, startPostgres } from '../../../test/harness/postgres.ts';
import { metaStoreContract } from '../contract.ts';
import { openPostgresMetaStore } from './postgres-meta-store.ts';

let postgres: Postgres;
before(async () => {
  postgres = await startPostgres({ durable: false });
});
after(() => postgres[Symbol.asyncDispose]());

metaStoreContract('postgres', async () =>
  openPostgresMetaStore({
    url: await postgres.createDatabase(),
    mode: 'migrate',
    partitions: 4,
    connectionsMax: 10,
    waitingMax: 500,
    connectMillisMax: 5_000,
    queryMillisMax: 30_000,
  }),
);
