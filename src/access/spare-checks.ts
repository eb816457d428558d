import { LRUCache } from 'lru-cache';
import type { Clock } from '../std/clock.ts';

/** At most so many passwords of one account from one address, and one more each time this has passed. */
const CHECKS_MAX = 5;
const CHECK_EVERY_MS = 10_000;
const GUESSES_KEPT_PER_PAIR = 50;
const PAIRS_MAX = 10_000;

interface Pair {
  left: number;
  filledAt: number;
  /** What was let through by its fingerprint, and whether it turned out wrong. */
  readonly guesses: LRUCache<string, 'open' | 'wrong'>;
}

/**
 * Checks that an account gets although its logins are slowed, at an address that it logged in from before: a job with an
 * old password next to those with the right one would else lock these out of each process that has not seen them yet, for
 * as long as it goes on. The same wrong password is let through once, so it uses nothing up; another one each time is
 * guessing, and the few checks are all that it gains. Per process.
 */
export class SpareChecks {
  readonly #pairs = new LRUCache<string, Pair>({ max: PAIRS_MAX });
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether this guess may be checked. Stays so until it is known to be wrong. */
  admit(key: string, guess: string): boolean {
    const pair = this.#pair(key);
    const known = pair.guesses.get(guess);
    if (known !== undefined) return known === 'open';
    if (pair.left < 1) return false;
    pair.left -= 1;
    pair.guesses.set(guess, 'open');
    return true;
  }

  /** Notes what a check of this process found. */
  wrong(key: string, guess: string): void {
    this.#pair(key).guesses.set(guess, 'wrong');
  }

  #pair(key: string): Pair {
    const now = this.#clock.now();
    const pair = this.#pairs.get(key);
    if (pair === undefined) {
      const fresh: Pair = {
        left: CHECKS_MAX,
        filledAt: now,
        guesses: new LRUCache({ max: GUESSES_KEPT_PER_PAIR }),
      };
      this.#pairs.set(key, fresh);
      return fresh;
    }
    const more = Math.max(0, Math.floor((now - pair.filledAt) / CHECK_EVERY_MS));
    pair.left = Math.min(CHECKS_MAX, pair.left + more);
    pair.filledAt += more * CHECK_EVERY_MS;
    return pair;
  }
}
