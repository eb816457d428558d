import assert from 'node:assert/strict';

/** What a name may mean now: `null` stands for nothing there. One value once the registry has said so. */
export type Possible = ReadonlySet<string | null>;

interface Attempt {
  readonly keys: readonly string[];
  readonly before: readonly Possible[];
  readonly after: readonly (string | null)[];
}

/**
 * What a registry has to answer, learnt from what it acknowledged. A change whose answer never came may have happened or
 * not, but as a whole: `settle` compares what is found with both and from then on holds the registry to it.
 */
export class Expected {
  readonly #possible = new Map<string, Possible>();
  #unanswered: Attempt[] = [];

  get keys(): readonly string[] {
    return [...this.#possible.keys()];
  }

  /** Names of which something is not known for sure. */
  get unsure(): readonly string[] {
    return this.keys.filter((key) => this.of(key).size > 1);
  }

  of(key: string): Possible {
    return this.#possible.get(key) ?? new Set([null]);
  }

  /** The value, when there is only one. */
  sure(key: string): string | null {
    const [value, ...others] = this.of(key);
    assert.equal(others.length, 0, `${key} is not settled`);
    return value ?? null;
  }

  /** Call before the request is sent; then `acknowledge` what it returns when a 2xx came, or `refuse` it. */
  attempt(changes: readonly (readonly [key: string, value: string | null])[]): Attempt {
    const keys = changes.map(([key]) => key);
    const attempt = {
      keys,
      before: keys.map((key) => this.of(key)),
      after: changes.map(([, value]) => value),
    };
    for (const [key, value] of changes) this.#possible.set(key, new Set([...this.of(key), value]));
    this.#unanswered.push(attempt);
    return attempt;
  }

  acknowledge(attempt: Attempt): void {
    this.#end(attempt, (at) => new Set([attempt.after[at] ?? null]));
  }

  refuse(attempt: Attempt): void {
    this.#end(attempt, (at) => attempt.before[at] ?? new Set());
  }

  /** `found`: at least what is unsure. */
  settle(found: ReadonlyMap<string, string | null>): void {
    for (const [key, value] of found) {
      const possible = this.of(key);
      const told = [...possible].map(String).join(' or ');
      assert.ok(possible.has(value), `${key} is ${String(value)} and should be ${told}`);
      this.#possible.set(key, new Set([value]));
    }
    for (const { keys, before, after } of this.#unanswered) {
      const all = keys.every((key, at) => this.sure(key) === after[at]);
      const none = keys.every((key, at) => before[at]?.has(this.sure(key)) === true);
      assert.ok(all || none, `half of a change is visible: ${keys.join(', ')}`);
    }
    this.#unanswered = [];
  }

  #end(attempt: Attempt, valueAt: (at: number) => Possible): void {
    for (const [at, key] of attempt.keys.entries()) this.#possible.set(key, valueAt(at));
    this.#unanswered = this.#unanswered.filter((other) => other !== attempt);
  }
}
