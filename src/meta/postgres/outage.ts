import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../telemetry/telemetry.ts';
import { isAnswer, isConnectionLost } from './postgres-errors.ts';

/** Who waits longer than this, in milliseconds, wonders whether the database is there at all. */
const doubtMillis = 500;
const tickMillis = 250;
/** It is asked at most so often, in milliseconds, while it does answer. */
const askEveryMillis = 1_000;
/** While it is away it is asked again after so long, in milliseconds. */
const retryMillis = 500;

/** One that waits for the database, in milliseconds of `performance.now()`. */
interface Wait {
  readonly since: number;
  doubtsAt: number;
}

export interface OutageOptions {
  /** Asks on a connection of its own, and throws what pg throws when no answer comes in the time that a connection may take. */
  readonly ask: () => Promise<void>;
  /** It does not answer: what stands to it is dead. */
  readonly onAway: () => void;
  /** Hears when it goes away and when it is back. */
  readonly log: Pick<Logger, 'warn' | 'info'> | null;
}

/**
 * Knows whether the database answers. A line that swallows what is sent looks like a slow statement, so whoever waits for
 * long makes it ask on a new connection; when that is not answered, nor anybody else meanwhile, the database is away for
 * all. Then nobody has to wait for it: it goes on asking by itself until it is back.
 */
export class Outage {
  readonly #options: OutageOptions;
  readonly #waits = new Set<Wait>();
  readonly #timer: NodeJS.Timeout;
  readonly #closing = new AbortController();
  #error: unknown = null;
  #answeredAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  #isAsking = false;
  #isWaiting = false;

  constructor(options: OutageOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#tick(), tickMillis).unref();
  }

  /** Why it is away; null while it is not known to be. */
  get error(): unknown {
    return this.#error;
  }

  /** A statement, from when it was sent. */
  async watch<T>(statement: Promise<T>): Promise<T> {
    const since = performance.now();
    const wait = { since, doubtsAt: since + doubtMillis };
    this.#waits.add(wait);
    try {
      const value = await statement;
      this.#answeredAt = performance.now();
      return value;
    } catch (error) {
      if (isAnswer(error)) this.#answeredAt = performance.now();
      throw error;
    } finally {
      this.#waits.delete(wait);
    }
  }

  /** A connection that was begun at `since`, of `performance.now()`, was not made. */
  notice(error: unknown, since: number): void {
    if (this.#error === null && this.#showsAway(error, since)) this.#becomeAway(error);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#closing.abort();
  }

  #tick(): void {
    const now = performance.now();
    const doubters = [...this.#waits].filter(({ doubtsAt }) => doubtsAt <= now);
    if (doubters.length === 0 || this.#error !== null || now < this.#askedAt + askEveryMillis) return;
    // A statement may be slow in its own right: it doubts less and less often.
    for (const wait of doubters) wait.doubtsAt = now + (now - wait.since);
    void this.#ask();
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.#askedAt = performance.now();
    try {
      await this.#options.ask();
      this.#becomeBack();
    } catch (error) {
      if (!this.#showsAway(error, this.#askedAt)) this.#becomeBack();
      else {
        if (this.#error === null) this.#becomeAway(error);
        this.#options.onAway();
      }
    } finally {
      this.#isAsking = false;
    }
  }

  /** Others may be answered while a new connection is not; and to say that there is no room for one more is an answer. */
  #showsAway(error: unknown, since: number): boolean {
    return isConnectionLost(error) && !isAnswer(error) && this.#answeredAt < since;
  }

  #becomeAway(error: unknown): void {
    this.#error = error;
    if (this.#closing.signal.aborted) return;
    this.#options.log?.warn(
      { err: error },
      'the database does not answer: who needs it is refused until it does',
    );
    void this.#untilBack();
  }

  #becomeBack(): void {
    if (this.#error === null) return;
    this.#error = null;
    this.#options.log?.info('the database answers again');
  }

  async #untilBack(): Promise<void> {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    const { signal } = this.#closing;
    while (this.#error !== null && !signal.aborted) {
      await sleep(retryMillis, undefined, { ref: false, signal }).catch(() => {});
      if (!signal.aborted) await this.#ask();
    }
    this.#isWaiting = false;
  }
}
