import {
  type CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  type Dialect,
  type Driver,
  Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import type { Database } from '../schema.ts';
import type { Connection } from './connection.ts';

/** Observes each statement; may refuse it by throwing. */
export type Around = <T>(run: () => T) => T;

/**
 * Kysely over one open connection. Every step resolves at once, so that between two statements of a transaction only
 * microtasks run. Transactions are begun and ended by the store, not by Kysely.
 */
export function kyselyOver(connection: Connection, around: Around): Kysely<Database> {
  return new Kysely<Database>({ dialect: new OneConnectionDialect(connection, around) });
}

class OneConnectionDialect implements Dialect {
  readonly #connection: DatabaseConnection;

  constructor(connection: Connection, around: Around) {
    this.#connection = new SynchronousConnection(connection, around);
  }

  createDriver(): Driver {
    return new OneConnectionDriver(this.#connection);
  }

  createQueryCompiler(): SqliteQueryCompiler {
    return new SqliteQueryCompiler();
  }

  createAdapter(): SqliteAdapter {
    return new UnlockedAdapter();
  }

  createIntrospector(db: Kysely<unknown>): DatabaseIntrospector {
    return new SqliteIntrospector(db);
  }
}

/** Kysely need not queue statements of a connection that runs each of them synchronously. */
class UnlockedAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

class SynchronousConnection implements DatabaseConnection {
  readonly #connection: Connection;
  readonly #around: Around;

  constructor(connection: Connection, around: Around) {
    this.#connection = connection;
    this.#around = around;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const answer = this.#around(() => this.#connection.execute(query.sql, query.parameters));
    return {
      rows: answer.rows as R[],
      numAffectedRows: BigInt(answer.changes),
      insertId: BigInt(answer.lastId),
    };
  }

  streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('the ledger reads in pages, never in streams');
  }
}

class OneConnectionDriver implements Driver {
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
