import { hash } from 'node:crypto';
import pg from 'pg';
import {
  everyRead,
  everyWriteThatSearches,
  FEW_ROWS,
  IN_EVERY_PART,
} from '../../src/meta/contract/every-query.ts';
import { digestFromBytes } from '../../src/meta/digest-bytes.ts';
import type { MetaStore, Repository } from '../../src/meta/meta-store.ts';
import { kyselyOver } from '../../src/meta/postgres/dialect.ts';
import { postgresWrites } from '../../src/meta/postgres/groups.ts';
import { hotReadGroups } from '../../src/meta/postgres/hot-reads.ts';
import { openPostgresMetaStore } from '../../src/meta/postgres/postgres-meta-store.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/name.ts';
import type { Tag } from '../../src/oci/reference.ts';
import { Explainer } from '../../test/harness/explain.ts';
import { startPostgres } from '../../test/harness/postgres.ts';
import { atMost, type Claim, type Numbers, percentile } from '../measure.ts';

const BLOBS = 100_000_000;
/** Each blob is linked once; a manifest comes to so many of them. */
const BLOBS_PER_MANIFEST = 50;
const BLOBS_PER_REPOSITORY = 10_000;
const ROWS_PER_STATEMENT = 1_000_000;
const PARTITIONS = 16;
const ASKED = 2_000;
const SEEDED_AT = Date.UTC(2026, 0, 1);
/** As much as a database server of this size would be given; what a seed need not survive is left out. */
const SETTINGS = [
  'shared_buffers=4GB',
  'maintenance_work_mem=2GB',
  'max_wal_size=8GB',
  'wal_level=minimal',
  'max_wal_senders=0',
  'autovacuum=off',
];

/** The ledger on PostgreSQL with as many rows as the scale says: how every query finds its rows, and how long that takes. */
export const scaling: Claim = {
  name: 'scaling',
  title: 'PostgreSQL with 100,000,000 blobs and as many links: milliseconds of a query',
  onlyByName: true,
  async run({ scale }) {
    const blobs = Math.max(BLOBS_PER_REPOSITORY, Math.round(BLOBS * scale));
    const postgres = await startPostgres({ durable: false, settings: SETTINGS });
    try {
      const url = await postgres.createDatabase();
      const limits = { connectionsMax: 4, waitingMax: 100, connectMillisMax: 5_000, queryMillisMax: 600_000 };
      const store = await openPostgresMetaStore({ url, mode: 'migrate', partitions: PARTITIONS, ...limits });
      await seed(url, blobs);
      const plans = await checkPlans(url);
      const numbers = { ...(await timeQueries(store, blobs)), rows: await countRows(url) };
      await store.close();
      return {
        numbers,
        targets: [
          atMost('statements that read a table from end to end', plans.scanning, 0),
          atMost('hot statements that look into more than one part of a table', plans.everywhere, 0),
        ],
      };
    } finally {
      await postgres[Symbol.asyncDispose]();
    }
  },
};

function say(text: string): void {
  console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
}

/** Rows without what pushes leave for others, as if that had been worked off; indexes are built when the rows are there. */
async function seed(url: string, blobs: number): Promise<void> {
  const repositories = Math.ceil(blobs / BLOBS_PER_REPOSITORY);
  await inTurn(url, [
    `insert into repositories (name, created_at, created_by)
      select 'org' || (i % 1000) || '/app' || i, ${SEEDED_AT}, 'seed' from generate_series(1, ${repositories}) i`,
    'alter table blobs drop constraint blobs_pkey',
    'alter table links drop constraint links_pkey',
    'drop index links_digest',
  ]);
  const digest = String.raw`'\x01'::bytea || sha256(i::text::bytea)`;
  const ranges = (rows: number) =>
    Array.from({ length: Math.ceil(rows / ROWS_PER_STATEMENT) }, (_, at) => {
      const from = at * ROWS_PER_STATEMENT + 1;
      return `generate_series(${from}, ${Math.min(rows, from + ROWS_PER_STATEMENT - 1)}) i`;
    });
  await atOnce(url, [
    ...ranges(blobs).map(
      (rows) =>
        `insert into blobs select ${digest}, i % 100000000, 's3:' || md5(i::text), 'present', ${SEEDED_AT}, ${SEEDED_AT} from ${rows}`,
    ),
    ...ranges(blobs).map(
      (rows) =>
        `insert into links select i % ${repositories} + 1, ${digest}, ${SEEDED_AT}, 'seed' from ${rows}`,
    ),
  ]);
  say(`${blobs} blobs and links`);
  await atOnce(url, [
    'alter table blobs add primary key (digest)',
    'alter table links add primary key (repository_id, digest)',
  ]);
  await inTurn(url, ['create index links_digest on links (digest, repository_id)']);
  say('indexes');
  const manifests = Math.ceil(blobs / BLOBS_PER_MANIFEST);
  await atOnce(url, [
    ...ranges(manifests).map(
      (
        rows,
      ) => `insert into manifests (repository_id, digest, media_type, size_bytes, pushed_at, pushed_by, bytes)
        select i % ${repositories} + 1, ${digest}, 'application/vnd.oci.image.manifest.v1+json', 500, ${SEEDED_AT}, 'seed',
          decode(repeat(md5(i::text), 30), 'hex') from ${rows}`,
    ),
    ...ranges(manifests).map(
      (
        rows,
      ) => `insert into manifest_references (repository_id, manifest, kind, position, target, media_type, size_bytes)
        select i % ${repositories} + 1, ${digest}, case position when 0 then 'config' else 'layer' end, position,
          '\\x01'::bytea || sha256((i + position)::text::bytea), 'application/vnd.oci.image.layer.v1.tar+gzip', 1000
        from ${rows}, generate_series(0, 4) position`,
    ),
    ...ranges(manifests).map(
      (rows) => `insert into tags (repository_id, name, digest, started_at, started_by)
        select i % ${repositories} + 1, 'v' || i, ${digest}, ${SEEDED_AT}, 'seed' from ${rows}`,
    ),
  ]);
  say(`${manifests} manifests and tags`);
  await inTurn(url, ['vacuum analyze', 'checkpoint']);
  say('vacuumed');
}

async function inTurn(url: string, statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  for (const statement of statements) await client.query(statement);
  await client.end();
}

/** On two connections: one for each core of a small machine. */
async function atOnce(url: string, statements: readonly string[]): Promise<void> {
  const halves = [0, 1].map((half) => statements.filter((_, at) => at % 2 === half));
  await Promise.all(halves.map((half) => inTurn(url, half)));
}

async function checkPlans(url: string): Promise<{ readonly scanning: number; readonly everywhere: number }> {
  const explainer = await Explainer.open(url, { honest: true });
  const repository = { id: 1, name: 'org1/app1', createdAt: 1 } as Repository;
  const db = kyselyOver(explainer.run);
  await everyRead(hotReadGroups(db, explainer.run), repository);
  await everyWriteThatSearches(postgresWrites(db), repository);
  const of = { scanning: 0, everywhere: 0 };
  for (const { sql, scans, parts } of explainer.explained) {
    // A table of a page or two is read as a whole, rightly: people, leases, open uploads.
    const large = scans.filter((table) => /^(blobs|links|manifests|manifest_references|tags)_/.test(table));
    const isEverywhere = IN_EVERY_PART.some((known) => known.test(sql));
    const most = /in \(\$\d+, \$\d+\)/.test(sql) ? 2 : 1;
    if (large.length > 0 && !FEW_ROWS.some((known) => known.test(sql))) {
      of.scanning += 1;
      say(`scans ${large.join()}: ${sql}`);
    }
    if (!isEverywhere && [...parts.values()].some((count) => count > most)) {
      of.everywhere += 1;
      say(`every part of ${[...parts.keys()].join()}: ${sql}`);
    }
  }
  say(`${explainer.explained.length} statements explained`);
  await explainer.close();
  return of;
}

async function timeQueries(store: MetaStore, blobs: number): Promise<Record<string, Numbers>> {
  const repositories = Math.ceil(blobs / BLOBS_PER_REPOSITORY);
  const manifests = Math.ceil(blobs / BLOBS_PER_MANIFEST);
  const { read } = store;
  const blob = () => place(Math.ceil(Math.random() * blobs), repositories);
  const manifest = () => place(Math.ceil(Math.random() * manifests), repositories);
  const queries: Readonly<Record<string, () => Promise<unknown>>> = {
    'blob of a repository': async () => {
      const { repository, digest } = blob();
      return read.blobs.findLinked(repository, digest);
    },
    'manifest by tag': async () => {
      const { repository, tag } = manifest();
      return read.manifests.getByTag(repository, tag);
    },
    'manifest by digest': async () => {
      const { repository, digest } = manifest();
      return read.manifests.getByDigest(repository, digest);
    },
    'page of 1,000 tags': async () => {
      const { id } = manifest();
      return read.tags.list({ repository: id, after: null, limit: 1000 });
    },
    'page of 1,000 repositories': () =>
      read.repositories.list({ after: `org${randomBelow(1000)}`, limit: 1000 }),
    'repositories of a blob': async () => read.blobs.repositoriesLinking(blob().digest, null, 100),
    'push: 4 blobs found linked and touched, in a transaction': async () => {
      const { repository, digest } = blob();
      return store.transaction(
        async (tx) => {
          const { id } = await tx.repositories.ensure(repository, 'seed', 1);
          const linked = await tx.blobs.linkedAmong(id, [
            digest,
            blob().digest,
            blob().digest,
            blob().digest,
          ]);
          return tx.blobs.touchAmong([...linked], SEEDED_AT + 1);
        },
        { concurrent: true },
      );
    },
  };
  const numbers: Record<string, Numbers> = {};
  for (const [name, ask] of Object.entries(queries)) {
    const milliseconds: number[] = [];
    for (let asked = 0; asked < ASKED; asked += 1) {
      const start = performance.now();
      if ((await ask()) === null) throw new Error(`${name}: nothing found`);
      milliseconds.push(performance.now() - start);
    }
    numbers[name] = { p50: percentile(milliseconds, 0.5), p99: percentile(milliseconds, 0.99) };
  }
  return numbers;
}

function randomBelow(bound: number): number {
  return Math.floor(Math.random() * bound);
}

/** Where the seed has put row `i`. */
function place(i: number, repositories: number) {
  const id = (i % repositories) + 1;
  return {
    id: id as Repository['id'],
    repository: `org${id % 1000}/app${id}` as RepositoryName,
    tag: `v${i}` as Tag,
    digest: digestOfRow(i),
  };
}

function digestOfRow(i: number): Digest {
  return digestFromBytes(Buffer.concat([Buffer.of(1), hash('sha256', String(i), 'buffer')]));
}

async function countRows(url: string): Promise<Numbers> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query(
    `select (select sum(reltuples) from pg_class where relname ~ '^blobs_[0-9]+$') as blobs,
      (select sum(reltuples) from pg_class where relname ~ '^links_[0-9]+$') as links,
      pg_database_size(current_database()) / 1073741824.0 as "GiB"`,
  );
  await client.end();
  return Object.fromEntries(Object.entries(rows[0] as object).map(([name, value]) => [name, Number(value)]));
}
