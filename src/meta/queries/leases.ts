import { type Kysely, sql } from 'kysely';
import type * as contract from '../meta-store.ts';
import type { Database } from '../schema.ts';
import type { Surroundings } from './surroundings.ts';

/** The row stays when a lease is freed: its fence must never go back. */
const NOBODY = '';

export class LeaseQueries implements contract.LeaseWrites {
  readonly #db: Kysely<Database>;
  readonly #surroundings: Surroundings;

  constructor(db: Kysely<Database>, surroundings: Surroundings) {
    this.#db = db;
    this.#surroundings = surroundings;
  }

  async take(name: string, holder: string, leaseMillis: number): Promise<number | null> {
    const until = this.#fromNow(leaseMillis);
    const renewed = await this.#db
      .updateTable('leases')
      .set({ until })
      .where('name', '=', name)
      .where('holder', '=', holder)
      .returning('fence')
      .executeTakeFirst();
    if (renewed !== undefined) return renewed.fence;
    const now = this.#surroundings.now();
    const taken = await this.#db
      .updateTable('leases')
      .set((eb) => ({ holder, until, fence: eb('fence', '+', 1) }))
      .where('name', '=', name)
      .where('until', '<=', now)
      .where('rests_until', '<=', now)
      .returning('fence')
      .executeTakeFirst();
    if (taken !== undefined) return taken.fence;
    const made = await this.#db
      .insertInto('leases')
      .values({ name, holder, until, fence: 1 })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .returning('fence')
      .executeTakeFirst();
    return made?.fence ?? null;
  }

  async free(name: string, holder: string, restMillis: number): Promise<void> {
    const freed = await this.#db
      .updateTable('leases')
      .set({ holder: NOBODY, until: 0, rests_until: this.#fromNow(restMillis) })
      .where('name', '=', name)
      .where('holder', '=', holder)
      .executeTakeFirst();
    // Nobody waits for what rests.
    if (freed.numUpdatedRows > 0n && restMillis === 0) {
      await this.#surroundings.publish({ kind: 'lease_freed', name });
    }
  }

  /** Writes, so that the row is ours until the end: on PostgreSQL who wants to take it waits. */
  async isCurrent(name: string, fence: number): Promise<boolean> {
    const result = await this.#db
      .updateTable('leases')
      .set({ fence })
      .where('name', '=', name)
      .where('fence', '=', fence)
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }

  #fromNow(millis: number) {
    return sql<number>`${this.#surroundings.now()} + ${sql.lit(millis)}`;
  }
}
