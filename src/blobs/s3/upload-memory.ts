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
  readonly #waiting = new Set<Waiting>();
  #freeBytes: number;
  #peakBytes = 0;

  /** `bytesMax` must hold one part at least, and a part be of whole blocks. */
  constructor({ bytesMax, partBytes }: { readonly bytesMax: number; readonly partBytes: number }) {
    if (partBytes % BLOCK_BYTES !== 0)
      throw new RangeError(`a part is not of blocks of ${BLOCK_BYTES} bytes`);
    if (bytesMax < partBytes + BLOCK_BYTES) {
      throw new RangeError('the memory of uploads does not hold one part');
    }
    this.bytesMax = bytesMax;
    this.#partBytes = partBytes;
    this.#freeBytes = bytesMax;
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
    return this.#waiting.size > 0;
  }

  /** The signal ends its waiting. */
  filling(signal?: AbortSignal): Filling {
    return new Filling({
      take: (want) => this.#take(want, signal),
      giveBack: (blocks) => this.#giveBack(blocks),
      forget: (filling) => void this.#fillings.delete(filling),
    });
  }

  async #take(want: Want, signal: AbortSignal | undefined): Promise<readonly Buffer[]> {
    signal?.throwIfAborted();
    const blocks = this.#blocksFor(want, this.#leastToGo());
    if (blocks > 0) return this.#give(want.filling, blocks);
    const { promise, resolve, reject } = Promise.withResolvers<readonly Buffer[]>();
    const waiting = { want, resolve };
    const onAbort = (): void => {
      this.#waiting.delete(waiting);
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#waiting.add(waiting);
    try {
      return await promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Bytes until the part that is nearest to its end is full. */
  #leastToGo(): number {
    let least = this.#partBytes;
    for (const { heldBytes } of this.#fillings) least = Math.min(least, this.#partBytes - heldBytes);
    return least;
  }

  /** How many it may have now. */
  #blocksFor({ filling, enoughBytes }: Want, leastToGo: number): number {
    // Whoever needs no more than that gives it back without anybody's help.
    if (enoughBytes !== null && this.#freeBytes >= enoughBytes) return enoughBytes / BLOCK_BYTES;
    const toGo = Math.min(leastToGo, this.#partBytes - filling.heldBytes - BLOCK_BYTES);
    return this.#freeBytes - BLOCK_BYTES >= Math.max(0, toGo) ? 1 : 0;
  }

  #give(filling: Filling, count: number): readonly Buffer[] {
    const bytes = count * BLOCK_BYTES;
    this.#fillings.add(filling);
    this.#freeBytes -= bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.heldBytes);
    filling.heldBytes += bytes;
    return Array.from({ length: count }, () => this.#spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES));
  }

  /** To those who wait, in the order of asking; but whoever can finish goes past those who cannot begin. */
  #giveBack(blocks: readonly Buffer[]): void {
    this.#freeBytes += blocks.length * BLOCK_BYTES;
    this.#spare.push(...blocks);
    let leastToGo = this.#leastToGo();
    for (const waiting of this.#waiting) {
      const { want, resolve } = waiting;
      const count = this.#blocksFor(want, leastToGo);
      if (count === 0) continue;
      this.#waiting.delete(waiting);
      resolve(this.#give(want.filling, count));
      leastToGo = Math.min(leastToGo, this.#partBytes - want.filling.heldBytes);
    }
  }
}

interface Want {
  readonly filling: Filling;
  /** Bytes with which the work ends by itself, in whole blocks; null: it wants a block, and perhaps a whole part. */
  readonly enoughBytes: number | null;
}

interface Waiting {
  readonly want: Want;
  readonly resolve: (blocks: readonly Buffer[]) => void;
}

interface Source {
  readonly take: (want: Want) => Promise<readonly Buffer[]>;
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

  /**
   * Resolves when so many bytes in all, at most a part, are written without waiting. `isEnough`: nobody's bytes but those
   * that are there already will be waited for until they are given back.
   */
  async reserve(bytes: number, options: { readonly isEnough?: boolean } = {}): Promise<void> {
    while (this.heldBytes < bytes) {
      const rest = Math.ceil((bytes - this.heldBytes) / BLOCK_BYTES) * BLOCK_BYTES;
      const want = { filling: this, enoughBytes: options.isEnough === true ? rest : null };
      this.#blocks.push(...(await this.#source.take(want)));
    }
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

  /** What it holds is given back, and it is empty. */
  clear(): void {
    if (this.heldBytes > 0) this.handOver().giveBack();
  }
}
