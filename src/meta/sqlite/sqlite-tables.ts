import type { TablesDriver } from '../ledger-tables.ts';
import { openReader, openWriter } from './connection.ts';

/** Pages after which SQLite moves its log into the database by itself. */
const autoCheckpointPages = 1000;

/** Of a ledger that is there and that nobody serves. */
export function openSqliteTables(file: string, intent: 'read' | 'write'): TablesDriver {
  const connection = intent === 'read' ? openReader(file) : openWriter(file, { autoCheckpointPages });
  const run: TablesDriver['run'] = async (sql, parameters) => ({
    rows: connection.execute(sql, parameters).rows as Awaited<ReturnType<TablesDriver['run']>>['rows'],
  });
  return {
    place: `sqlite:${file}`,
    run,
    placeholder: () => '?',
    async columns() {
      const { rows } = await run(
        `select t.name as "table", c.name as "column" from sqlite_schema t join pragma_table_info(t.name) c
         where t.type = 'table' and t.name not like 'sqlite%' and t.name <> 'schema_migrations'`,
        [],
      );
      return rows.map((row) => ({ table: String(row['table']), column: String(row['column']) }));
    },
    async begin(wanted) {
      if (wanted === 'write') await run('pragma synchronous = full', []);
      await run(wanted === 'write' ? 'begin immediate' : 'begin', []);
    },
    async lastIds() {
      const { rows } = await run('select name, seq from sqlite_sequence', []);
      return new Map(rows.map((row) => [String(row['name']), Number(row['seq'])]));
    },
    async setLastId(table, id) {
      await run('delete from sqlite_sequence where name = ?', [table]);
      await run('insert into sqlite_sequence (name, seq) values (?, ?)', [table, id]);
    },
    async settle() {
      await run('pragma wal_checkpoint(truncate)', []);
    },
    async schema() {
      const made = await run("select name from sqlite_schema where name = 'schema_migrations'", []);
      if (made.rows.length === 0) return [];
      const { rows } = await run(
        'select version, name, applied_at from schema_migrations order by version',
        [],
      );
      return rows.map((row) => ({
        version: Number(row['version']),
        name: String(row['name']),
        appliedAt: Number(row['applied_at']),
        compatibleFrom: Number(row['version']),
      }));
    },
    async close() {
      connection.close();
    },
  };
}
