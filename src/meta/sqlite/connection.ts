import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { fromSqlite } from './sqlite-errors.ts';

/** Prepared statements kept per connection; the contract's own number about 90. */
const statementsCachedMax = 256;
/** Only a reader in a process alone ever waits: for another process that recovers the log after a crash. */
const readBusyMilliseconds = 100;
/** Pages of the database kept in memory per connection, in KiB. */
const pageCacheKibibytes = 16_384;

interface Prepared {
  readonly statement: StatementSync;
  readonly answersRows: boolean;
}

export interface Answer {
  readonly rows: Record<string, unknown>[];
  readonly changes: number;
}

/** One SQLite connection with its prepared statements. Everything here is synchronous. */
export class Connection {
  readonly database: DatabaseSync;
  readonly #prepared = new Map<string, Prepared>();

  constructor(database: DatabaseSync) {
    this.database = database;
  }

  execute(sql: string, parameters: readonly unknown[]): Answer {
    try {
      const { statement, answersRows } = this.#prepare(sql);
      // Kysely and the queries bind only numbers, text, bytes and null.
      const values = parameters as SQLInputValue[];
      if (answersRows) {
        const rows = statement.all(...values) as Record<string, unknown>[];
        return { rows, changes: rows.length };
      }
      const { changes } = statement.run(...values);
      return { rows: [], changes: Number(changes) };
    } catch (error) {
      throw fromSqlite(error);
    }
  }

  get inTransaction(): boolean {
    return this.database.isTransaction;
  }

  close(): void {
    this.#prepared.clear();
    if (this.database.isOpen) this.database.close();
  }

  #prepare(sql: string): Prepared {
    const known = this.#prepared.get(sql);
    if (known !== undefined) {
      // Least recently used goes first, once something has to go.
      if (this.#prepared.size >= statementsCachedMax) {
        this.#prepared.delete(sql);
        this.#prepared.set(sql, known);
      }
      return known;
    }
    const statement = this.database.prepare(sql);
    const prepared = { statement, answersRows: statement.columns().length > 0 };
    if (this.#prepared.size >= statementsCachedMax) {
      const oldest = this.#prepared.keys().next();
      if (!oldest.done) this.#prepared.delete(oldest.value);
    }
    this.#prepared.set(sql, prepared);
    return prepared;
  }
}

export interface WriterLimits {
  readonly autoCheckpointPages: number;
  readonly pagesMax?: number;
}

/** Never waits for a lock itself: the busy timeout of SQLite sleeps on the event loop. */
export function openWriter(file: string, limits: WriterLimits): Connection {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec(
      `pragma synchronous = normal; pragma wal_autocheckpoint = ${limits.autoCheckpointPages};
       pragma cache_size = -${pageCacheKibibytes}; pragma trusted_schema = off; pragma temp_store = memory`,
    );
    if (limits.pagesMax !== undefined) database.exec(`pragma max_page_count = ${limits.pagesMax}`);
  } catch (error) {
    database.close();
    throw error;
  }
  return new Connection(database);
}

export function openReader(file: string): Connection {
  const database = new DatabaseSync(file, { readOnly: true, timeout: readBusyMilliseconds });
  database.exec(`pragma cache_size = -${pageCacheKibibytes}; pragma temp_store = memory`);
  return new Connection(database);
}
