import { Unavailable } from '../std/unavailable.ts';

/**
 * What a store throws for a location of another one: that is not configured here (any more, or not yet on this node), and another
 * node may know it.
 */
export function notHere(): Unavailable {
  return new Unavailable(
    'blob store',
    'the bytes of this blob are in a store that is not configured here: see storage.migrate_from',
    { retryable: true },
  );
}
