import type { MetaStore } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';
import type { Job } from './job.ts';

const INTERVAL_SECONDS = 10 * 60;
const ROWS_PER_TRANSACTION = 500;

/** Drops refresh tokens, signing keys and login failures whose time is over. */
export function expireAccessJob(deps: { readonly meta: MetaStore; readonly clock: Clock }): Job {
  return {
    name: 'expire-access',
    intervalSeconds: INTERVAL_SECONDS,
    scope: 'everywhere',
    async run(_signal, fence) {
      await deps.meta.transaction(
        async (tx) => {
          await fence(tx);
          await tx.access.expire(deps.clock.now(), ROWS_PER_TRANSACTION);
        },
        { durable: false },
      );
      return null;
    },
  };
}
