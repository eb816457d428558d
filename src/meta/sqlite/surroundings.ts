import { sql } from 'kysely';
import type { Clock } from '../../std/clock.ts';
import type { Surroundings } from '../queries/surroundings.ts';

/**
 * Every process that shares the database shares this machine's clock. There is no way to tell another process: whoever waits
 * looks often enough, as all of them are near.
 */
export function sqliteSurroundings(clock: Clock): Surroundings {
  return {
    now: () => sql<number>`${clock.now()}`,
    async publish() {},
  };
}
