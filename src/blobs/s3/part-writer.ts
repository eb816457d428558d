import type { Objects, Pieces } from './objects.ts';
import type { Filling } from './upload-memory.ts';
import type { Part } from './upload-state.ts';

export interface WrittenParts {
  readonly multipartId: string | null;
  readonly parts: readonly Part[];
  /** What makes no part: all of it, where there is no multipart upload. Good until the filling is cleared. */
  readonly tail: Pieces;
  /** The first failure of a part; what stands before it counts. */
  readonly error: Error | null;
}

export interface PartWriterOptions {
  readonly objects: Objects;
  /** Holds what stands behind the parts so far. */
  readonly filling: Filling;
  readonly key: string;
  readonly partBytes: number;
  readonly concurrency: number;
  /** Resolves with a new multipart upload's id, noted where it is found after a crash. */
  readonly begin: () => Promise<string>;
}

/** Gathers chunks into parts and sends those that are full, several at a time, while the next one fills. */
export class PartWriter {
  readonly #options: PartWriterOptions;
  #multipartId: string | null;
  #parts: (Part | null)[];
  #failedFrom: number | null = null;
  #error: Error | null = null;
  readonly #sending = new Set<Promise<void>>();

  constructor(
    options: PartWriterOptions,
    base: { readonly multipartId: string | null; readonly parts: readonly Part[] },
  ) {
    this.#options = options;
    this.#multipartId = base.multipartId;
    this.#parts = [...base.parts];
  }

  get partsBegun(): number {
    return this.#parts.length;
  }

  /** Copies the chunk; resolves when its source may fill it again. */
  async write(chunk: Uint8Array): Promise<void> {
    const { filling, partBytes } = this.#options;
    for (let start = 0; start < chunk.byteLength; ) {
      if (this.#error !== null) throw this.#error;
      const end = Math.min(chunk.byteLength, start + partBytes - filling.sizeBytes);
      await filling.write(chunk.subarray(start, end));
      start = end;
      if (filling.sizeBytes === partBytes) await this.#send();
    }
  }

  /** Resolves when no part is on its way any more. */
  async settle(): Promise<WrittenParts> {
    await Promise.all(this.#sending);
    const { filling } = this.#options;
    if (this.#failedFrom !== null) filling.clear();
    const parts = this.#failedFrom === null ? this.#parts : this.#parts.slice(0, this.#failedFrom);
    return {
      multipartId: this.#multipartId,
      parts: parts as Part[],
      tail: filling.body,
      error: this.#error,
    };
  }

  async #send(): Promise<void> {
    while (this.#sending.size >= this.#options.concurrency) await Promise.race(this.#sending);
    if (this.#error !== null) return;
    this.#multipartId ??= await this.#options.begin();
    const { body, giveBack } = this.#options.filling.handOver();
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
        giveBack();
        this.#sending.delete(sent);
      });
    this.#sending.add(sent);
  }
}
