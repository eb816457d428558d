import { LedgerError, LedgerTooNew, LedgerTooOld } from '../errors.ts';
import { compatibleFrom, migrations, type SqlWords, schemaVersion } from '../migrations/index.ts';
import type { Answer, Held } from './pool.ts';
import { CLOCK_SQL } from './surroundings.ts';

/** Names the lock under which one node migrates and the others wait. */
const MIGRATION_LOCK = 0x64726966;
/** The schema that has a table of nodes. */
const NODES_SINCE = 5;
/** As the server says it: 15. */
const SERVER_VERSION_MIN = 150_000;
const PARTITIONS_SETTING = 'schema:partitions';

function postgresWords(partitions: number): SqlWords {
  return {
    id: 'bigserial primary key',
    idWithin: (column) => ({ column: 'bigserial', constraint: `, primary key (${column}, id)` }),
    text: 'text collate "C"',
    integer: 'bigint',
    bytes: 'bytea',
    clustered: '',
    partitioned: (column) => ` partition by hash (${column})`,
    partitions: (table) =>
      Array.from(
        { length: partitions },
        (_, at) =>
          `create table ${table}_${at} partition of ${table} for values with (modulus ${partitions}, remainder ${at})`,
      ),
    // An entry of an index may have 2,700 bytes at most, a descriptor millions.
    carried: () => '',
    jsonText: (expression) => `to_json(${expression})::text`,
    hex: (expression) => `encode(${expression}, 'hex')`,
  };
}

/**
 * Brings the schema to this program's version, in one transaction of `held` and alone: whoever comes second finds it done.
 * `place` names the database in errors, without its password.
 */
export async function migrate(
  held: Held,
  options: { readonly place: string; readonly partitions: number; readonly at: number },
): Promise<void> {
  const { place, partitions, at } = options;
  await requireServer(held, place);
  await held.run('begin', []);
  await held.run('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
  await held.run(
    `create table if not exists schema_migrations
      (version bigint primary key, name text not null, applied_at bigint not null, compatible_from bigint not null)`,
    [],
  );
  const { version } = await refuseForeign(held, place);
  await refuseBesideOlder(held, { place, version });
  const count = version === 0 ? partitions : await readPartitions(held);
  if (count !== partitions) throw otherPartitions(place, { count, partitions });
  for (const migration of migrations) {
    if (migration.version <= version) continue;
    for (const statement of migration.statements(postgresWords(count))) await held.run(statement, []);
    await held.run(
      'insert into schema_migrations (version, name, applied_at, compatible_from) values ($1, $2, $3, $4)',
      [migration.version, migration.name, at, compatibleFrom(migration)],
    );
  }
  if (version === 0) {
    const insert = 'insert into settings (key, value) values ($1, $2)';
    await held.run(insert, [PARTITIONS_SETTING, String(count)]);
  }
  await held.run('commit', []);
}

/** Before anything else is asked of the server. */
export async function requireServer(held: Pick<Held, 'run'>, place: string): Promise<void> {
  const { rows } = await held.run(
    "select current_setting('server_version_num') as number, version() as name",
    [],
  );
  if (Number(rows[0]?.['number']) >= SERVER_VERSION_MIN) return;
  const found = /^\S+ \S+/.exec(String(rows[0]?.['name']))?.[0] ?? 'the server';
  throw new LedgerError(place, `The ledger ${place} is on ${found}: Drift needs PostgreSQL 15 or newer.`);
}

/** Nodes that serve now, and whose program could not go on after what there is to do: they would fail at every request. */
async function refuseBesideOlder(
  held: Held,
  { place, version }: { readonly place: string; readonly version: number },
): Promise<void> {
  const pending = migrations.filter((migration) => migration.version > version);
  if (version < NODES_SINCE || pending.length === 0) return;
  const needed = Math.max(...pending.map(compatibleFrom));
  const { rows } = await held.run(
    `select name from nodes
      where schema_version < $1 and seen_until >= ${CLOCK_SQL}
      order by name`,
    [needed],
  );
  if (rows.length === 0) return;
  const names = rows.map((row) => String(row['name'])).join(', ');
  throw new LedgerError(
    place,
    `The ledger ${place} cannot be migrated while older programs serve that cannot go on with the new schema: stop these nodes first: ${names}.`,
  );
}

/** For processes that do not migrate: a schema that this program can work with. */
export async function requireVersion(
  run: (sql: string, parameters: readonly unknown[]) => Promise<Answer>,
  place: string,
): Promise<void> {
  const { rows } = await run("select to_regclass('schema_migrations') as found", []);
  const version = (rows[0]?.['found'] ?? null) === null ? 0 : (await refuseForeign({ run }, place)).version;
  if (version >= schemaVersion) return;
  throw new LedgerTooOld(
    place,
    `The ledger ${place} has schema ${version}, this program needs ${schemaVersion}: run \`drift db migrate\`, or start \`drift serve\` once.`,
  );
}

/** A newer schema is no obstacle when it says that programs of our version may go on beside newer ones. */
async function refuseForeign(held: Pick<Held, 'run'>, place: string): Promise<{ readonly version: number }> {
  const { rows } = await held.run(
    `select coalesce(max(version), 0) as version,
      coalesce(max(compatible_from) filter (where version > $1), 0) as needs from schema_migrations`,
    [schemaVersion],
  );
  const version = Number(rows[0]?.['version']);
  if (Number(rows[0]?.['needs']) <= schemaVersion) return { version };
  throw new LedgerTooNew(
    place,
    `The ledger ${place} has schema ${version}, this program knows ${schemaVersion}: it was migrated by a newer version of Drift.`,
  );
}

async function readPartitions(held: Held): Promise<number> {
  const { rows } = await held.run('select value from settings where key = $1', [PARTITIONS_SETTING]);
  return Number(rows[0]?.['value']);
}

function otherPartitions(place: string, of: { readonly count: number; readonly partitions: number }) {
  return new LedgerError(
    place,
    `The ledger ${place} was made with ${of.count} partitions, which stay as they are: ask for ${of.count} (database.partitions, or --partitions of db copy) instead of ${of.partitions}.`,
  );
}
