import { LedgerTooNew, LedgerTooOld } from '../errors.ts';
import { migrations, type SqlWords, schemaVersion } from '../migrations/index.ts';
import type { Connection } from './connection.ts';

export const sqliteWords: SqlWords = {
  id: 'integer primary key autoincrement',
  idWithin: () => ({ column: 'integer primary key autoincrement', constraint: '' }),
  text: 'text',
  integer: 'integer',
  bytes: 'blob',
  clustered: ' without rowid',
  partitioned: () => '',
  partitions: () => [],
  carried: (columns) => `, ${columns}`,
  jsonText: (expression) => `json_quote(${expression})`,
  hex: (expression) => `lower(hex(${expression}))`,
};

/** Inside a transaction of the writer. */
export function migrate(connection: Connection, file: string, at: number): void {
  connection.execute(
    'create table if not exists schema_migrations (version integer primary key, name text not null, applied_at integer not null)',
    [],
  );
  const version = readVersion(connection);
  refuseNewer(version, file);
  for (const migration of migrations) {
    if (migration.version <= version) continue;
    for (const statement of migration.statements(sqliteWords)) connection.execute(statement, []);
    connection.execute('insert into schema_migrations (version, name, applied_at) values (?, ?, ?)', [
      migration.version,
      migration.name,
      at,
    ]);
  }
}

/** For processes that do not migrate: the schema must be ours exactly. */
export function requireVersion(connection: Connection, file: string): void {
  const version = hasVersions(connection) ? readVersion(connection) : 0;
  refuseNewer(version, file);
  if (version < schemaVersion) {
    throw new LedgerTooOld(
      file,
      `The ledger ${file} has schema ${version}, this program needs ${schemaVersion}: start \`drift serve\` once to migrate it.`,
    );
  }
}

function refuseNewer(version: number, file: string): void {
  if (version <= schemaVersion) return;
  throw new LedgerTooNew(
    file,
    `The ledger ${file} has schema ${version}, this program knows ${schemaVersion}: it was migrated by a newer version of Drift.`,
  );
}

function hasVersions(connection: Connection): boolean {
  const sql = "select name from sqlite_schema where type = 'table' and name = 'schema_migrations'";
  return connection.execute(sql, []).rows.length > 0;
}

function readVersion(connection: Connection): number {
  const { rows } = connection.execute('select max(version) as version from schema_migrations', []);
  return Number(rows[0]?.['version'] ?? 0);
}
