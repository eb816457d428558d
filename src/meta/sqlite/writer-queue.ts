import { Unavailable } from '../../std/unavailable.ts';

/** Transactions of this process that wait for the writer connection; more are refused. */
const transactionsWaitingMax = 10_000;
/** Transactions are microtasks one after the other: after so long requests and other processes get a turn. */
const turnMillisecondsMax = 5;

/** Lets one transaction of this process at a time at the writer connection, in the order of asking. */
export class WriterQueue {
  #busy = false;
  #turnBegan = 0;
  readonly #waiting: (() => void)[] = [];

  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.#enter();
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<void> {
    if (!this.#busy) {
      this.#busy = true;
      this.#turnBegan = performance.now();
      return;
    }
    if (this.#waiting.length >= transactionsWaitingMax) {
      throw new Unavailable('meta store', 'too many transactions wait for the ledger', { retryable: true });
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#busy = false;
    else if (performance.now() - this.#turnBegan < turnMillisecondsMax) next();
    else setImmediate(() => this.#beginTurn(next));
  }

  #beginTurn(next: () => void): void {
    this.#turnBegan = performance.now();
    next();
  }
}
