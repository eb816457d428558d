import type { WalIndex } from './wal-index.ts';

/** Answers kept; one more and all of them are forgotten, as after a commit. */
const ANSWERS_MAX = 16_384;
/** Of the long ones among them, in all. */
const BYTES_MAX = 16 * 1024 * 1024;

/** Answers of the ledger for as long as nothing is committed. What it hands out is shared: nobody may change it. */
export class UnchangedMemory {
  readonly #index: Pick<WalIndex, 'isUnchanged'>;
  readonly #answers = new Map<string, unknown>();
  #bytes = 0;

  constructor(index: Pick<WalIndex, 'isUnchanged'>) {
    this.#index = index;
  }

  /** What `ask` said under this key since the last commit, or says now. `bytesOf`: of an answer that may be long. */
  recall<T>(key: string, ask: () => T, bytesOf: (answer: T) => number = () => 0): T {
    // Looked at before it is asked: a commit between the two makes the next call ask again.
    if (!this.#index.isUnchanged()) this.#forget();
    const known = this.#answers.get(key);
    if (known !== undefined) return known as T;
    const answer = ask();
    const bytes = bytesOf(answer);
    if (this.#answers.size >= ANSWERS_MAX || this.#bytes + bytes > BYTES_MAX) this.#forget();
    this.#bytes += bytes;
    this.#answers.set(key, answer);
    return answer;
  }

  #forget(): void {
    this.#answers.clear();
    this.#bytes = 0;
  }
}
