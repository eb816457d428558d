import { type Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely';
import type { Database } from '../schema.ts';
import { kyselyThrough, type Words } from '../statement-dialect.ts';
import type { Connection } from './connection.ts';

/** Observes each statement; may refuse it by throwing. */
export type Around = <T>(run: () => T) => T;

/** Kysely need not queue statements of a connection that runs each of them synchronously. */
class UnlockedAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

const words: Words = {
  createQueryCompiler: () => new SqliteQueryCompiler(),
  createAdapter: () => new UnlockedAdapter(),
  createIntrospector: (db) => new SqliteIntrospector(db),
};

/**
 * Kysely over one open connection. Every step resolves at once, so that between two statements of a transaction only
 * microtasks run.
 */
export function kyselyOver(connection: Connection, around: Around): Kysely<Database> {
  return kyselyThrough(words, ({ sql, parameters }) => {
    const { rows, changes } = around(() => connection.execute(sql, parameters));
    return { rows, numAffectedRows: BigInt(changes) };
  });
}
