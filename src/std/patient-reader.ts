/** Reads a source whose next value can be waited for for a while, and again later. */
export class PatientReader<T> {
  readonly #source: AsyncGenerator<T, void, void>;
  #next: Promise<IteratorResult<T, void>> | null = null;

  constructor(source: AsyncGenerator<T, void, void>) {
    this.#source = source;
  }

  /** What `next` will resolve with, or reject. */
  peek(): Promise<IteratorResult<T, void>> {
    this.#next ??= this.#source.next();
    return this.#next;
  }

  /** Whether `peek` resolves within so many milliseconds; rejects when it does. */
  async hasNextWithin(milliseconds: number): Promise<boolean> {
    const { promise: late, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(resolve, milliseconds, false);
    try {
      return await Promise.race([this.peek().then(() => true), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async next(): Promise<IteratorResult<T, void>> {
    const result = await this.peek();
    this.#next = null;
    return result;
  }

  /** The source is told that nobody reads on. It hears of it when what was asked of it last is there: that is not waited for. */
  close(): void {
    this.#source.return().catch(() => undefined);
    this.#next?.catch(() => undefined);
  }
}
