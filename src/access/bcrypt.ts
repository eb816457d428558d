import { Worker } from 'node:worker_threads';
import type { BcryptAnswer, BcryptQuestion } from './bcrypt-thread.ts';

interface Waiting {
  readonly resolve: (matches: boolean) => void;
  readonly reject: (error: Error) => void;
}

/** Checks bcrypt hashes in a thread of its own, started at the first check and again after it died. */
export class Bcrypt {
  #thread: Worker | null = null;
  #nextId = 0;
  readonly #waiting = new Map<number, Waiting>();

  verify(password: string, hash: string): Promise<boolean> {
    const thread = (this.#thread ??= this.#start());
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      thread.ref();
      thread.postMessage({ id, password, hash } satisfies BcryptQuestion);
    });
  }

  async close(): Promise<void> {
    await this.#thread?.terminate();
  }

  #start(): Worker {
    const thread = new Worker(new URL('./bcrypt-thread.ts', import.meta.url));
    thread.on('message', ({ id, matches }: BcryptAnswer) => {
      this.#waiting.get(id)?.resolve(matches);
      this.#waiting.delete(id);
      // An idle thread must not keep the process alive.
      if (this.#waiting.size === 0) thread.unref();
    });
    thread.on('error', (error) =>
      this.#fail(thread, new Error('the bcrypt thread failed', { cause: error })),
    );
    thread.on('exit', () => this.#fail(thread, new Error('the bcrypt thread ended')));
    return thread;
  }

  /** `error` is followed by `exit`: by then another thread may be at work already. */
  #fail(thread: Worker, error: Error): void {
    if (this.#thread !== thread) return;
    this.#thread = null;
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}
