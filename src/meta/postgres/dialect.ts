import { type Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely';
import type { Database } from '../schema.ts';
import { kyselyThrough, type Words } from '../statement-dialect.ts';
import type { Answer } from './pool.ts';

/** Runs one statement, wherever that is: on a held connection or on any of the pool. */
export type Run = (sql: string, parameters: readonly unknown[]) => Promise<Answer>;

const words: Words = {
  createQueryCompiler: () => new PostgresQueryCompiler(),
  createAdapter: () => new PostgresAdapter(),
  createIntrospector: (db) => new PostgresIntrospector(db),
};

export function kyselyOver(run: Run): Kysely<Database> {
  return kyselyThrough(words, async ({ sql, parameters }) => {
    const { rows, changes } = await run(sql, parameters);
    return { rows, numAffectedRows: BigInt(changes) };
  });
}
