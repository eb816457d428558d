import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  type QueryResult,
} from 'kysely';
import type { Database } from './schema.ts';

/** How a database is spoken to; the rest is the same for all. */
export type Words = Pick<Dialect, 'createQueryCompiler' | 'createAdapter' | 'createIntrospector'>;

/** Runs one statement, wherever that is. */
export type RunStatement = (query: CompiledQuery) => QueryResult<unknown> | Promise<QueryResult<unknown>>;

/** Kysely over whatever runs statements. Transactions are begun and ended by the store, not by Kysely. */
export function kyselyThrough(words: Words, run: RunStatement): Kysely<Database> {
  return new Kysely<Database>({ dialect: { ...words, createDriver: () => new StatementDriver(run) } });
}

class StatementConnection implements DatabaseConnection {
  readonly #run: RunStatement;

  constructor(run: RunStatement) {
    this.#run = run;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    return (await this.#run(query)) as QueryResult<R>;
  }

  streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('the ledger reads in pages, never in streams');
  }
}

class StatementDriver implements Driver {
  readonly #connection: DatabaseConnection;

  constructor(run: RunStatement) {
    this.#connection = new StatementConnection(run);
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection;
  }

  async beginTransaction(): Promise<void> {
    throw new Error('transactions of the ledger are begun by the store');
  }

  async commitTransaction(): Promise<void> {}

  async rollbackTransaction(): Promise<void> {}

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {}
}
