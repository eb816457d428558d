import type { AppliedMigration, Row, TablesDriver, Value } from '../ledger-tables.ts';
import { type Held, Pool } from './pool.ts';
import { fromPostgres } from './postgres-errors.ts';
import { withoutPassword } from './without-password.ts';

const connectMillisMax = 10_000;
/** One statement, of a page of rows or of the statistics of a large table, in milliseconds. */
const statementMillisMax = 60 * 60 * 1000;

export async function openPostgresTables(url: string): Promise<TablesDriver> {
  const pool = new Pool({
    url,
    connectionsMax: 1,
    waitingMax: 1,
    connectMillisMax,
    queryMillisMax: statementMillisMax,
    patient: true,
  });
  return new PostgresTables(url, pool, await pool.hold());
}

class PostgresTables implements TablesDriver {
  readonly place: string;
  readonly #pool: Pool;
  readonly #held: Held;

  constructor(url: string, pool: Pool, held: Held) {
    this.place = `postgres:${withoutPassword(url)}`;
    this.#pool = pool;
    this.#held = held;
  }

  readonly placeholder = (index: number): string => `$${index}`;

  async run(sql: string, parameters: readonly Value[]): Promise<{ readonly rows: readonly Row[] }> {
    try {
      const { rows } = await this.#held.run(sql, parameters);
      return { rows: rows as readonly Row[] };
    } catch (error) {
      throw fromPostgres(error);
    }
  }

  async columns() {
    const { rows } = await this.run(
      `select t.relname as "table", a.attname as "column"
       from pg_class t join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
       where t.relnamespace = current_schema()::regnamespace and t.relkind in ('r', 'p')
         and not t.relispartition and t.relname <> 'schema_migrations'`,
      [],
    );
    return rows.map((row) => ({ table: String(row['table']), column: String(row['column']) }));
  }

  async begin(intent: 'read' | 'write'): Promise<void> {
    const text = {
      read: 'isolation level repeatable read read only',
      write: 'isolation level read committed',
    };
    await this.run(`begin ${text[intent]}; set local synchronous_commit = on`, []);
  }

  async lastIds(): Promise<ReadonlyMap<string, number>> {
    const ids = new Map<string, number>();
    for (const [table, sequence] of await this.#sequences()) {
      // One that was never asked holds its first number already.
      const sql = `select case when is_called then last_value end as last from ${sequence}`;
      const last = (await this.run(sql, [])).rows[0]?.['last'] ?? null;
      if (last !== null) ids.set(table, Number(last));
    }
    return ids;
  }

  async setLastId(table: string, id: number): Promise<void> {
    const sequence = (await this.#sequences()).get(table);
    if (sequence === undefined) throw new Error(`${table} does not number its rows`);
    await this.run('select setval($1::regclass, $2)', [sequence, id]);
  }

  async settle(): Promise<void> {
    await this.run('analyze', []);
  }

  async schema(): Promise<readonly AppliedMigration[]> {
    const made = await this.run("select to_regclass('schema_migrations')::text as name", []);
    if ((made.rows[0]?.['name'] ?? null) === null) return [];
    const { rows } = await this.run('select * from schema_migrations order by version', []);
    return rows.map((row) => ({
      version: Number(row['version']),
      name: String(row['name']),
      appliedAt: Number(row['applied_at']),
      compatibleFrom: Number(row['compatible_from']),
    }));
  }

  async close(): Promise<void> {
    this.#held.release(true);
    await this.#pool.close();
  }

  /** By the table whose rows each one numbers. */
  async #sequences(): Promise<ReadonlyMap<string, string>> {
    const { rows } = await this.run(
      `select "table", name from (
         select c.table_name as "table", pg_get_serial_sequence(quote_ident(c.table_name), 'id') as name
         from information_schema.columns c
         where c.table_schema = current_schema() and c.column_name = 'id' and c.column_default like 'nextval%'
       ) as found where name is not null`,
      [],
    );
    return new Map(rows.map((row) => [String(row['table']), String(row['name'])]));
  }
}
