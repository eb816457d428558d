import type { Pieces } from './objects.ts';

/** Bytes of one block. Parts are lists of blocks: a slow client holds only as many as it has sent bytes for. */
const BLOCK_BYTES = 256 * 1024;

/**
 * The memory of all parts on their way to the store in this process, and of what is read back of an upload that goes on.
 * Whoever fills a part takes block after block and waits when there are none. A block is only given when, after that, the
 * part with the fewest bytes to go can still be filled to its end from what is free (the banker's algorithm, all wanting the
 * same): then it is sent, gives back all of its blocks, and so on with the next. So nobody waits for ever, however many parts
 * are begun at once.
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

  /** Somebody waits for some of it. */
  get isWanted(): boolean {
    return this.#waiting.length > 0;
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

/** What one upload has in memory at the moment: bytes that make no part yet. */
export class Filling {
  heldBytes = 0;
  readonly #source: Source;
  #blocks: Buffer[] = [];
  #sizeBytes = 0;

  constructor(source: Source) {
    this.#source = source;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The bytes where they stand: good until they are cleared, or handed over and given back. */
  get body(): Pieces {
    const used = this.#blocks.slice(0, Math.ceil(this.#sizeBytes / BLOCK_BYTES));
    const pieces = used.map((block, index) =>
      block.subarray(0, Math.min(BLOCK_BYTES, this.#sizeBytes - index * BLOCK_BYTES)),
    );
    return { pieces, sizeBytes: this.#sizeBytes };
  }

  /** Resolves when so many bytes in all, at most a part, are written without waiting. */
  async reserve(bytes: number): Promise<void> {
    while (this.heldBytes < bytes) this.#blocks.push(await this.#source.take(this));
  }

  /** Copies the chunk; resolves when its source may fill it again. */
  async write(chunk: Uint8Array): Promise<void> {
    for (let start = 0; start < chunk.byteLength; ) {
      const used = this.#sizeBytes % BLOCK_BYTES;
      if (this.#sizeBytes === this.heldBytes) await this.reserve(this.#sizeBytes + 1);
      const block = this.#blocks[Math.floor(this.#sizeBytes / BLOCK_BYTES)] as Buffer;
      const end = Math.min(chunk.byteLength, start + BLOCK_BYTES - used);
      block.set(chunk.subarray(start, end), used);
      this.#sizeBytes += end - start;
      start = end;
    }
  }

  /** What was written is void; the memory for it stays reserved. */
  rewind(): void {
    this.#sizeBytes = 0;
  }

  /** The part is being sent, and gives its memory back when it says so. The next one begins with nothing. */
  handOver(): { readonly body: Pieces; readonly giveBack: () => void } {
    const { body } = this;
    const blocks = this.#blocks;
    this.#blocks = [];
    this.#sizeBytes = 0;
    this.heldBytes = 0;
    this.#source.forget(this);
    return { body, giveBack: () => this.#source.giveBack(blocks) };
  }

  clear(): void {
    this.handOver().giveBack();
  }
}
