import { createSigningKeys } from '../access/signing-keys.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';
import type { Job } from './job.ts';

const INTERVAL_SECONDS = 60 * 60;

/** Makes the next signing key when the last one is too old, so that no request has to wait for that. */
export function rotateSigningKeysJob(deps: { readonly meta: MetaStore; readonly clock: Clock }): Job {
  const keys = createSigningKeys(deps);
  return {
    name: 'rotate-signing-keys',
    intervalSeconds: INTERVAL_SECONDS,
    scope: 'everywhere',
    // No fence: requests make keys, too, and their transaction lets one of all win.
    async run() {
      await keys.current();
      return null;
    },
  };
}
