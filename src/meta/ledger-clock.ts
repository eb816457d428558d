import { type Clock, systemClock } from '../std/clock.ts';
import type { MetaStore } from './meta-store.ts';

/** In milliseconds. Between two looks this machine's oscillator is trusted: it goes wrong by some microseconds a second. */
const measureEveryMillis = 10_000;
/** An answer that took longer says too little about when it was given. */
const roundTripMillisMax = 1_000;

/**
 * The time that all nodes go by: the ledger's, where it has a clock of its own. What one node writes (when an upload
 * expires, when a blob was touched, until when a token holds) another compares, and their machines' clocks differ.
 */
export interface LedgerClock extends Clock {
  /** This machine's wall clock minus the ledger's, in milliseconds. */
  skewMillis(): number;
  close(): void;
}

/** Throws what `meta.now` throws: without having asked once nobody knows the time. */
export async function openLedgerClock(meta: Pick<MetaStore, 'now'>): Promise<LedgerClock> {
  if (meta.now === null) return { now: () => systemClock.now(), skewMillis: () => 0, close: () => {} };
  const clock = new MeasuredClock(meta.now);
  await clock.measure();
  return clock;
}

/** Counts on from the last measurement by the monotonic clock, so that setting the wall clock changes nothing. */
class MeasuredClock implements LedgerClock {
  readonly #ask: () => Promise<number>;
  readonly #timer: NodeJS.Timeout;
  /** The ledger's time at the origin of `performance.now()`. */
  #origin: number | null = null;

  constructor(ask: () => Promise<number>) {
    this.#ask = ask;
    this.#timer = setInterval(() => {
      // An old measurement is still a good one.
      this.measure().catch(() => {});
    }, measureEveryMillis);
    this.#timer.unref();
  }

  now(): number {
    return Math.round((this.#origin ?? 0) + performance.now());
  }

  skewMillis(): number {
    return Date.now() - this.now();
  }

  async measure(): Promise<void> {
    const before = performance.now();
    const now = await this.#ask();
    const after = performance.now();
    if (this.#origin !== null && after - before > roundTripMillisMax) return;
    this.#origin = now - (before + after) / 2;
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
