/**
 * Questions that are asked many times at once, as when a whole fleet pulls one tag. One of a kind is under way; who asks the
 * same meanwhile waits for the next, which begins after all of them have asked: its answer is as new as one of their own.
 */
export class SharedAsking<Answer> {
  readonly #underWay = new Map<string, { readonly current: Promise<Answer>; next: Promise<Answer> | null }>();

  /** `key`: two questions of one key are the same. What `question` throws, all hear who wait for it. */
  ask(key: string, question: () => Promise<Answer>): Promise<Answer> {
    const asked = this.#underWay.get(key);
    if (asked === undefined) return this.#begin(key, question);
    asked.next ??= asked.current.then(
      () => this.#begin(key, question),
      () => this.#begin(key, question),
    );
    return asked.next;
  }

  /** Kinds of questions that are being asked. */
  get size(): number {
    return this.#underWay.size;
  }

  #begin(key: string, question: () => Promise<Answer>): Promise<Answer> {
    const asked = { current: question(), next: null };
    this.#underWay.set(key, asked);
    const end = (): void => {
      if (asked.next === null) this.#underWay.delete(key);
    };
    // Before anybody hears the answer: whoever asks after that begins anew.
    return asked.current.finally(end);
  }
}
