import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import {
  type CertificateAuthority,
  createCertificateAuthority,
} from '../../../test/harness/certificate-authority.ts';
import { type Postgres, startPostgres } from '../../../test/harness/postgres.ts';
import { Unavailable } from '../../std/unavailable.ts';
import { DEMO, ensure } from '../contract/fixture.ts';
import { openTestStore } from './open-test-store.ts';

const ROLE = 'registry';
const PASSWORD = 'p@ss/word:%';

let authority: CertificateAuthority;
let stranger: CertificateAuthority;
let postgres: Postgres;
/** Of a database that belongs to the role. */
let database: string;
before(async () => {
  authority = createCertificateAuthority();
  stranger = createCertificateAuthority();
  postgres = await startPostgres({
    certificate: authority.issue('postgres', ['DNS:localhost']),
    access: [`hostssl all ${ROLE} all scram-sha-256`, `host all ${ROLE} all reject`],
  });
  const url = await postgres.createDatabase();
  database = new URL(url).pathname.slice(1);
  await ask(url, `create role ${ROLE} login password '${PASSWORD}'`);
  await ask(url, `alter database ${database} owner to ${ROLE}; alter schema public owner to ${ROLE}`);
});
after(async () => {
  await postgres?.[Symbol.asyncDispose]();
  authority?.dispose();
  stranger?.dispose();
});

async function ask(url: string, sql: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
}

function url(host: string, parameters: Readonly<Record<string, string>>): string {
  const address = new URL(`postgres://${host}:${postgres.port}/${database}`);
  address.username = ROLE;
  address.password = encodeURIComponent(PASSWORD);
  for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value);
  return address.href;
}

test('a store whose database takes TLS and passwords only, works, and every connection is encrypted', async () => {
  const store = await openTestStore(
    url('localhost', { sslmode: 'verify-full', sslrootcert: authority.certificateFile }),
  );
  try {
    await ensure(store);
    assert.notEqual(await store.read.repositories.find(DEMO), null);
    const connections = await ask(
      postgres.url('postgres'),
      `select ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = '${ROLE}'`,
    );
    assert.ok(connections.length > 0);
    assert.ok(connections.every(({ ssl }) => ssl === true));
  } finally {
    await store.close();
  }
});

/** `sslmode` and whose certificate is trusted; the host that is asked for; what the operator is told. */
const refused: readonly (readonly [string, () => string, RegExp])[] = [
  ['asked without TLS', () => url('localhost', {}), /refuses this user: .*no encryption/],
  [
    'of an authority that it does not know',
    () => url('localhost', { sslmode: 'verify-full', sslrootcert: stranger.certificateFile }),
    /TLS with the database does not come about: .*certificate/,
  ],
  [
    'whose certificate is for another name',
    () => url('127.0.0.1', { sslmode: 'verify-full', sslrootcert: authority.certificateFile }),
    /TLS with the database does not come about: .*altnames/,
  ],
];
for (const [what, address, sentence] of refused) {
  test(`a store of a database ${what}, does not open and says why`, async () => {
    await assert.rejects(openTestStore(address()), (error) => {
      assert.ok(error instanceof Unavailable && !error.retryable, String(error));
      assert.match(error.message, sentence);
      return true;
    });
  });
}
