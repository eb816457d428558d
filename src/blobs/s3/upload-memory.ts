/** Bytes of one block. Parts are lists of blocks: a slow client holds only as many as it has sent bytes for. */
export const BLOCK_BYTES = 256 * 1024;

/**
 * The memory of all parts on their way to the store in this process. Whoever fills a part takes block after block and
 * waits when there are none. A block is only given when, after that, the part with the fewest bytes to go can still be
 * filled to its end from what is free (the banker's algorithm, all wanting the same): then it is sent, gives back all of its
 * blocks, and so on with the next. So nobody waits for ever, however many parts are begun at once.
 */
export class UploadMemory {
  readonly bytesMax: number;
  readonly #partBytes: number;
  readonly #fillings = new Set<Filling>();
  readonly #spare: Buffer[] = [];
  #waiting: { readonly filling: Filling; readonly resolve: (block: Buffer) => void }[] = [];
  #freeBytes: number;
  #peakBytes = 0;

  /** `bytesMax` must hold one part at least. */
  constructor(options: { readonly bytesMax: number; readonly partBytes: number }) {
    if (options.bytesMax < options.partBytes + BLOCK_BYTES) {
      throw new RangeError('the memory of uploads does not hold one part');
    }
    this.bytesMax = options.bytesMax;
    this.#partBytes = options.partBytes;
    this.#freeBytes = options.bytesMax;
  }

  get heldBytes(): number {
    return this.bytesMax - this.#freeBytes;
  }

  /** The most that was ever held at once. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  filling(): Filling {
    return new Filling({
      take: (filling) => this.#take(filling),
      giveBack: (blocks) => this.#giveBack(blocks),
      forget: (filling) => this.#forget(filling),
    });
  }

  #take(filling: Filling): Promise<Buffer> {
    if (this.#mayTake(filling)) return Promise.resolve(this.#give(filling));
    return new Promise((resolve) => this.#waiting.push({ filling, resolve }));
  }

  #mayTake(filling: Filling): boolean {
    let toGo = this.#partBytes - filling.heldBytes - BLOCK_BYTES;
    for (const other of this.#fillings) {
      if (other !== filling) toGo = Math.min(toGo, this.#partBytes - other.heldBytes);
    }
    return this.#freeBytes - BLOCK_BYTES >= Math.max(0, toGo);
  }

  #give(filling: Filling): Buffer {
    this.#fillings.add(filling);
    this.#freeBytes -= BLOCK_BYTES;
    this.#peakBytes = Math.max(this.#peakBytes, this.heldBytes);
    filling.heldBytes += BLOCK_BYTES;
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
  }

  #giveBack(blocks: readonly Buffer[]): void {
    this.#freeBytes += blocks.length * BLOCK_BYTES;
    this.#spare.push(...blocks);
    this.#serve();
  }

  #forget(filling: Filling): void {
    this.#fillings.delete(filling);
    this.#waiting = this.#waiting.filter((waiting) => waiting.filling !== filling);
    this.#serve();
  }

  /** In the order of asking, but whoever can finish goes past those who cannot begin. */
  #serve(): void {
    const still = [];
    for (const waiting of this.#waiting) {
      if (this.#mayTake(waiting.filling)) waiting.resolve(this.#give(waiting.filling));
      else still.push(waiting);
    }
    this.#waiting = still;
  }
}

interface Source {
  readonly take: (filling: Filling) => Promise<Buffer>;
  readonly giveBack: (blocks: readonly Buffer[]) => void;
  readonly forget: (filling: Filling) => void;
}

/** The part that one upload fills at the moment. */
export class Filling {
  heldBytes = 0;
  readonly #source: Source;

  constructor(source: Source) {
    this.#source = source;
  }

  take(): Promise<Buffer> {
    return this.#source.take(this);
  }

  /** The part is being sent: it comes back by itself. The next one begins with nothing. */
  handOver(): void {
    this.heldBytes = 0;
    this.#source.forget(this);
  }

  giveBack(blocks: readonly Buffer[]): void {
    this.#source.giveBack(blocks);
  }
}
