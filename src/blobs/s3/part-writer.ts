import type { Objects } from './objects.ts';
import { BLOCK_BYTES, type Filling, type UploadMemory } from './upload-memory.ts';
import type { Part } from './upload-state.ts';

export interface WrittenParts {
  readonly multipartId: string | null;
  readonly parts: readonly Part[];
  /** What makes no part: all of it, where there is no multipart upload. */
  readonly tail: readonly Uint8Array[];
  readonly tailBytes: number;
  /** The first failure of a part; what stands before it counts. */
  readonly error: Error | null;
}

export interface PartWriterOptions {
  readonly objects: Objects;
  readonly memory: UploadMemory;
  readonly key: string;
  readonly partBytes: number;
  readonly concurrency: number;
  /** Resolves with a new multipart upload's id, noted where it is found after a crash. */
  readonly begin: () => Promise<string>;
}

/** Gathers chunks into parts and sends those that are full, several at a time, while the next one fills. */
export class PartWriter {
  readonly #options: PartWriterOptions;
  readonly #filling: Filling;
  #multipartId: string | null;
  #parts: (Part | null)[];
  #blocks: Buffer[] = [];
  #blockBytes = 0;
  #failedFrom: number | null = null;
  #error: Error | null = null;
  readonly #sending = new Set<Promise<void>>();

  constructor(
    options: PartWriterOptions,
    base: { readonly multipartId: string | null; readonly parts: readonly Part[] },
  ) {
    this.#options = options;
    this.#filling = options.memory.filling();
    this.#multipartId = base.multipartId;
    this.#parts = [...base.parts];
  }

  get partsBegun(): number {
    return this.#parts.length;
  }

  /** Copies the chunk; resolves when its source may fill it again. */
  async write(chunk: Uint8Array): Promise<void> {
    for (let start = 0; start < chunk.byteLength; ) {
      if (this.#error !== null) throw this.#error;
      const used = this.#blockBytes % BLOCK_BYTES;
      if (used === 0) this.#blocks.push(await this.#filling.take());
      const block = this.#blocks.at(-1) as Buffer;
      const end = Math.min(chunk.byteLength, start + BLOCK_BYTES - used);
      block.set(chunk.subarray(start, end), used);
      this.#blockBytes += end - start;
      start = end;
      if (this.#blockBytes === this.#options.partBytes) await this.#send();
    }
  }

  /** Resolves when no part is on its way any more. `close` ends the life of the tail. */
  async settle(): Promise<WrittenParts> {
    await Promise.all(this.#sending);
    const whole = this.#failedFrom === null;
    const parts = whole ? this.#parts : this.#parts.slice(0, this.#failedFrom as number);
    const tail = whole ? pieces(this.#blocks, this.#blockBytes) : [];
    return {
      multipartId: this.#multipartId,
      parts: parts as Part[],
      tail,
      tailBytes: whole ? this.#blockBytes : 0,
      error: this.#error,
    };
  }

  close(): void {
    this.#filling.handOver();
    this.#filling.giveBack(this.#blocks);
    this.#blocks = [];
    this.#blockBytes = 0;
  }

  async #send(): Promise<void> {
    while (this.#sending.size >= this.#options.concurrency) await Promise.race(this.#sending);
    if (this.#error !== null) return;
    this.#multipartId ??= await this.#options.begin();
    const blocks = this.#blocks;
    const body = { pieces: pieces(blocks, this.#blockBytes), sizeBytes: this.#blockBytes };
    this.#blocks = [];
    this.#blockBytes = 0;
    this.#filling.handOver();
    const index = this.#parts.push(null) - 1;
    const place = { key: this.#options.key, multipartId: this.#multipartId, number: index + 1 };
    const sent = this.#options.objects
      .uploadPart(place, body)
      .then((part) => {
        this.#parts[index] = part;
      })
      .catch((error: unknown) => {
        this.#failedFrom = Math.min(this.#failedFrom ?? index, index);
        this.#error ??= error instanceof Error ? error : new Error('a part failed', { cause: error });
      })
      .finally(() => {
        this.#filling.giveBack(blocks);
        this.#sending.delete(sent);
      });
    this.#sending.add(sent);
  }
}

function pieces(blocks: readonly Buffer[], bytes: number): Uint8Array[] {
  return blocks.map((block, index) => block.subarray(0, Math.min(BLOCK_BYTES, bytes - index * BLOCK_BYTES)));
}
