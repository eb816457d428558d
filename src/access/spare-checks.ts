import { LRUCache } from 'lru-cache';
import type { Clock } from '../std/clock.ts';

/** At most so many passwords of one account from one address, and one more each time this has passed. */
const CHECKS_MAX = 5;
const CHECK_EVERY_MS = 10_000;
/** What a process remembers. */
const PAIRS_MAX = 10_000;
const GUESSES_MAX = 20_000;

interface Allowance {
  left: number;
  filledAt: number;
}

/**
 * Checks that an account gets although its logins are slowed, at an address that it logged in from before: a job with an
 * old password next to those with the right one would else lock these out of each process that has not seen them yet, for
 * as long as it goes on. The same wrong password is let through once, so it uses nothing up; another one each time is
 * guessing, and the few checks are all that it gains. Per process.
 */
export class SpareChecks {
  readonly #allowances = new LRUCache<string, Allowance>({ max: PAIRS_MAX });
  /** What was let through, and whether it turned out wrong. */
  readonly #guesses = new LRUCache<string, 'open' | 'wrong'>({ max: GUESSES_MAX });
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether this guess at the account and address of `pair` may be checked. Stays so until it is known to be wrong. */
  admit(pair: string, guess: string): boolean {
    const known = this.#guesses.get(guess);
    if (known !== undefined) return known === 'open';
    const allowance = this.#allowance(pair);
    if (allowance.left < 1) return false;
    allowance.left -= 1;
    this.#guesses.set(guess, 'open');
    return true;
  }

  /** Notes what a check of this process found. */
  wrong(guess: string): void {
    this.#guesses.set(guess, 'wrong');
  }

  #allowance(pair: string): Allowance {
    const now = this.#clock.now();
    const { left, filledAt } = this.#allowances.get(pair) ?? { left: CHECKS_MAX, filledAt: now };
    const more = Math.max(0, Math.floor((now - filledAt) / CHECK_EVERY_MS));
    const filled = { left: Math.min(CHECKS_MAX, left + more), filledAt: filledAt + more * CHECK_EVERY_MS };
    this.#allowances.set(pair, filled);
    return filled;
  }
}
