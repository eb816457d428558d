import type { WalIndex } from './wal-index.ts';

/** Answers kept; one more and all of them are forgotten, as after a commit. */
const ANSWERS_MAX = 16_384;

/** Answers of the ledger for as long as nothing is committed. What it hands out is shared: nobody may change it. */
export class UnchangedMemory {
  readonly #index: Pick<WalIndex, 'isUnchanged'>;
  readonly #answers = new Map<string, unknown>();

  constructor(index: Pick<WalIndex, 'isUnchanged'>) {
    this.#index = index;
  }

  /** What `ask` said under this key since the last commit, or says now. */
  recall<T>(key: string, ask: () => T): T {
    // Looked at before it is asked: a commit between the two makes the next call ask again.
    if (!this.#index.isUnchanged()) this.#answers.clear();
    const known = this.#answers.get(key);
    if (known !== undefined) return known as T;
    const answer = ask();
    if (this.#answers.size >= ANSWERS_MAX) this.#answers.clear();
    this.#answers.set(key, answer);
    return answer;
  }
}
