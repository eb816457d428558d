import type { RawBuilder } from 'kysely';
import type { Notice } from '../meta-store.ts';

/** What queries need of the store around them beside the database. */
export interface Surroundings {
  /** The ledger's clock, in milliseconds, as an expression of SQL: what it says when the statement runs. */
  readonly now: () => RawBuilder<number>;
  /** In the transaction at hand. */
  readonly publish: (notice: Notice) => Promise<void>;
}
