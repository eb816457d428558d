/** Asks for several things at once. The answers by the keys of their items; none where there is nothing. */
export type Question<Item, Answer> = (
  items: ReadonlyMap<string, Item>,
) => Promise<ReadonlyMap<string, Answer>>;

interface Round<Item, Answer> {
  readonly items: Map<string, Item>;
  readonly answers: PromiseWithResolvers<ReadonlyMap<string, Answer>>;
}

/** One question, or several beside each other, that were begun together. */
interface Start<Item, Answer> {
  open: number;
  readonly question: Question<Item, Answer>;
  readonly timer: NodeJS.Timeout;
}

interface Kind<Item, Answer> {
  readonly waiting: Round<Item, Answer>[];
  /** The next one follows this one. */
  last: Start<Item, Answer>;
}

/**
 * Questions that are asked many at a time, as when a whole fleet pulls: planning a statement costs a database more than
 * answering it. While one of a kind is under way, whoever asks waits for the next, where all go together and equal ones
 * once. That one begins after all of them have asked: its answers are as new as those to questions of their own.
 */
export class GatheredAsking<Item, Answer> {
  readonly #limits: { readonly itemsMax: number; readonly waitMillisMax: number };
  readonly #kinds = new Map<string, Kind<Item, Answer>>();

  /**
   * `itemsMax`: of one question; what is more is asked beside it. `waitMillisMax`: one that takes longer is not waited for
   * before the next begins.
   */
  constructor(limits: { readonly itemsMax: number; readonly waitMillisMax: number }) {
    this.#limits = limits;
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
    const known = this.#kinds.get(kind);
    const round = known === undefined ? newRound<Item, Answer>() : this.#roundFor(key, known.waiting);
    round.items.set(key, item);
    if (known === undefined) this.#begin(kind, [round], question);
    return (await round.answers.promise).get(key);
  }

  /** Kinds of questions that are being asked. */
  get size(): number {
    return this.#kinds.size;
  }

  #roundFor(key: string, waiting: Round<Item, Answer>[]): Round<Item, Answer> {
    const joined = waiting.find(({ items }) => items.has(key) || items.size < this.#limits.itemsMax);
    if (joined !== undefined) return joined;
    const round = newRound<Item, Answer>();
    waiting.push(round);
    return round;
  }

  #begin(kind: string, rounds: readonly Round<Item, Answer>[], question: Question<Item, Answer>): void {
    const start: Start<Item, Answer> = {
      open: rounds.length,
      question,
      timer: setTimeout(() => this.#goOn(kind, start), this.#limits.waitMillisMax),
    };
    this.#kinds.set(kind, { waiting: [], last: start });
    // Before anybody hears the last answer: whoever asks after that is not among those who waited.
    const end = (): void => {
      start.open -= 1;
      if (start.open === 0) this.#goOn(kind, start);
    };
    for (const { items, answers } of rounds) {
      Promise.try(question, items).finally(end).then(answers.resolve, answers.reject);
    }
  }

  #goOn(kind: string, start: Start<Item, Answer>): void {
    clearTimeout(start.timer);
    const known = this.#kinds.get(kind);
    if (known?.last !== start) return;
    if (known.waiting.length > 0) this.#begin(kind, known.waiting, start.question);
    else this.#kinds.delete(kind);
  }
}

function newRound<Item, Answer>(): Round<Item, Answer> {
  return { items: new Map(), answers: Promise.withResolvers() };
}
