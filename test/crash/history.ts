import assert from 'node:assert/strict';

interface Name {
  /** What the name was made to mean, one after the other, by the one client that may; `null`: nothing. */
  readonly values: (string | null)[];
  /** Position of the last value that was acknowledged: nobody may see an older one. */
  acknowledged: number;
}

/** The model: every name has one writer, any number of readers, and a time that only goes forward. */
export class History {
  readonly #names = new Map<string, Name>();
  readonly #seen = new Map<string, number>();

  /** Before the request is sent. Returns the position to acknowledge. */
  begin(key: string, value: string | null): number {
    const name = this.#names.get(key) ?? { values: [null], acknowledged: 0 };
    this.#names.set(key, name);
    return name.values.push(value) - 1;
  }

  acknowledge(key: string, position: number): void {
    const name = this.#names.get(key);
    assert.ok(name !== undefined && position > name.acknowledged, key);
    name.acknowledged = position;
  }

  /** Where time stands for this reader: ask before the request is sent. */
  now(reader: string, key: string): number {
    return Math.max(this.#names.get(key)?.acknowledged ?? 0, this.#seen.get(`${reader} ${key}`) ?? 0);
  }

  /** What the reader saw must have been true at `from` or later. */
  observe(reader: string, key: string, value: string | null, from: number): void {
    const values = this.#names.get(key)?.values ?? [null];
    const at = values.indexOf(value, from);
    if (at === -1) {
      const why = values.includes(value) ? 'which is past' : 'which nobody wrote';
      assert.fail(
        `${reader} reads ${key} as ${String(value)}, ${why} (now: ${values.slice(from).join(', ')})`,
      );
    }
    this.#seen.set(`${reader} ${key}`, at);
  }

  get keys(): readonly string[] {
    return [...this.#names.keys()];
  }
}
