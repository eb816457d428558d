import type { Kysely } from 'kysely';
import type * as contract from '../meta-store.ts';
import type { Database } from '../schema.ts';

/** The row stays when a lease is freed: its fence must never go back. */
const NOBODY = '';

export class LeaseQueries implements contract.LeaseWrites {
  readonly #db: Kysely<Database>;

  constructor(db: Kysely<Database>) {
    this.#db = db;
  }

  async take(name: string, holder: string, until: number, at: number): Promise<number | null> {
    const renewed = await this.#db
      .updateTable('leases')
      .set({ until })
      .where('name', '=', name)
      .where('holder', '=', holder)
      .returning('fence')
      .executeTakeFirst();
    if (renewed !== undefined) return renewed.fence;
    const taken = await this.#db
      .updateTable('leases')
      .set((eb) => ({ holder, until, fence: eb('fence', '+', 1) }))
      .where('name', '=', name)
      .where('until', '<=', at)
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

  async free(name: string, holder: string): Promise<void> {
    await this.#db
      .updateTable('leases')
      .set({ holder: NOBODY, until: 0 })
      .where('name', '=', name)
      .where('holder', '=', holder)
      .execute();
  }
}
