import { RegistryError } from '../oci/error-codes.ts';
import type { Bcrypt } from './bcrypt.ts';
import { argon2Matches } from './password-hash.ts';
import type { Secret } from './user-directory.ts';

/** Checks that may wait for each one that runs. */
const WAITING_PER_RUNNING_MAX = 32;
const RETRY_AFTER_SECONDS = 2;

/** Slow hashes, at most so many at once in this process: each takes a thread of the pool and megabytes of memory. */
export class PasswordChecks {
  readonly #bcrypt: Bcrypt;
  readonly #runningMax: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #done = 0;

  constructor(bcrypt: Bcrypt, runningMax: number) {
    this.#bcrypt = bcrypt;
    this.#runningMax = runningMax;
  }

  /** Slow hashes computed so far in this process. */
  get done(): number {
    return this.#done;
  }

  /** Runs `work` when it is its turn; throws TOOMANYREQUESTS when too many wait. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#runningMax) await this.#wait();
    else this.#running += 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  /** To be called within `inTurn`. */
  async matches(password: string, secret: Secret): Promise<boolean> {
    this.#done += 1;
    if (secret.kind === 'bcrypt') return this.#bcrypt.verify(password, secret.hash);
    return argon2Matches(password, secret.hash);
  }

  /** The one before hands its place over, so the number of running checks stays as it is. */
  #wait(): Promise<void> {
    if (this.#waiting.length >= this.#runningMax * WAITING_PER_RUNNING_MAX) {
      throw new RegistryError('TOOMANYREQUESTS', 'too many logins at once; try again shortly', {
        retryAfterSeconds: RETRY_AFTER_SECONDS,
      });
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
