/** Asks for several things at once. The answers by the keys of their items; none where there is nothing. */
export type Question<Item, Answer> = (
  items: ReadonlyMap<string, Item>,
) => Promise<ReadonlyMap<string, Answer>>;

interface Round<Item, Answer> {
  readonly items: Map<string, Item>;
  readonly answers: PromiseWithResolvers<ReadonlyMap<string, Answer>>;
}

/**
 * Questions that are asked many at a time, as when a whole fleet pulls: planning a statement costs a database more than
 * answering it. While one of a kind is under way, whoever asks waits for the next, where all go together and equal ones
 * once. That one begins after all of them have asked: its answers are as new as those to questions of their own.
 */
export class GatheredAsking<Item, Answer> {
  readonly #itemsMax: number;
  /** What waits, of each kind that is under way. */
  readonly #waiting = new Map<string, Round<Item, Answer>[]>();

  /** `itemsMax`: of one question. What is more is asked beside it. */
  constructor(itemsMax: number) {
    this.#itemsMax = itemsMax;
  }

  /**
   * All of one `kind` bring the same `question`; `key` tells its items apart. What the question throws, all hear whose items
   * were in it.
   */
  async ask(
    kind: string,
    [key, item]: readonly [string, Item],
    question: Question<Item, Answer>,
  ): Promise<Answer | undefined> {
    const waiting = this.#waiting.get(kind);
    const round = waiting === undefined ? newRound<Item, Answer>() : this.#roundFor(key, waiting);
    round.items.set(key, item);
    if (waiting === undefined) this.#begin(kind, [round], question);
    return (await round.answers.promise).get(key);
  }

  /** Kinds of questions that are being asked. */
  get size(): number {
    return this.#waiting.size;
  }

  #roundFor(key: string, waiting: Round<Item, Answer>[]): Round<Item, Answer> {
    const joined = waiting.find(({ items }) => items.has(key) || items.size < this.#itemsMax);
    if (joined !== undefined) return joined;
    const round = newRound<Item, Answer>();
    waiting.push(round);
    return round;
  }

  #begin(kind: string, rounds: readonly Round<Item, Answer>[], question: Question<Item, Answer>): void {
    this.#waiting.set(kind, []);
    let open = rounds.length;
    // Before anybody hears the last answer: whoever asks after that is not among those who waited.
    const end = (): void => {
      open -= 1;
      if (open === 0) this.#next(kind, question);
    };
    for (const { items, answers } of rounds) {
      question(items).finally(end).then(answers.resolve, answers.reject);
    }
  }

  #next(kind: string, question: Question<Item, Answer>): void {
    const waiting = this.#waiting.get(kind) ?? [];
    if (waiting.length > 0) this.#begin(kind, waiting, question);
    else this.#waiting.delete(kind);
  }
}

function newRound<Item, Answer>(): Round<Item, Answer> {
  return { items: new Map(), answers: Promise.withResolvers() };
}
