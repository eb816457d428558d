import { type Kysely, sql } from 'kysely';
import type { Surroundings } from '../queries/surroundings.ts';
import type { Database } from '../schema.ts';
import { CHANNEL, writeNotice } from './notices.ts';

/** The database's clock, in milliseconds. Not `now()`, which stands still from the beginning of the transaction. */
export const CLOCK_SQL = '(extract(epoch from clock_timestamp()) * 1000)::bigint';

export function databaseNow() {
  return sql.raw<number>(CLOCK_SQL);
}

export function postgresSurroundings(db: Kysely<Database>): Surroundings {
  return {
    now: databaseNow,
    async publish(notice) {
      await sql`select pg_notify(${CHANNEL}, ${writeNotice(notice)})`.execute(db);
    },
  };
}
