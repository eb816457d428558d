import {
  type CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  type Dialect,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from 'kysely';
import type { Database } from '../schema.ts';
import type { Answer } from './pool.ts';

/** Runs one statement, wherever that is: on a held connection or on any of the pool. */
export type Run = (sql: string, parameters: readonly unknown[]) => Promise<Answer>;

/** Kysely over whatever runs statements. Transactions are begun and ended by the store, not by Kysely. */
export function kyselyOver(run: Run): Kysely<Database> {
  return new Kysely<Database>({ dialect: new RunDialect(run) });
}

class RunDialect implements Dialect {
  readonly #connection: DatabaseConnection;

  constructor(run: Run) {
    this.#connection = new RunConnection(run);
  }

  createDriver(): Driver {
    return new RunDriver(this.#connection);
  }

  createQueryCompiler(): PostgresQueryCompiler {
    return new PostgresQueryCompiler();
  }

  createAdapter(): PostgresAdapter {
    return new PostgresAdapter();
  }

  createIntrospector(db: Kysely<unknown>): DatabaseIntrospector {
    return new PostgresIntrospector(db);
  }
}

class RunConnection implements DatabaseConnection {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const answer = await this.#run(query.sql, query.parameters);
    return { rows: answer.rows as R[], numAffectedRows: BigInt(answer.changes) };
  }

  streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('the ledger reads in pages, never in streams');
  }
}

class RunDriver implements Driver {
  readonly #connection: DatabaseConnection;

  constructor(connection: DatabaseConnection) {
    this.#connection = connection;
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
