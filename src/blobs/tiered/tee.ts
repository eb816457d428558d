import type { UploadId } from '../blob-store.ts';
import type { HotFiles } from './hot-files.ts';

/**
 * Gives the chunks that go to the cold tier to the staged bytes of a copy, too, while the cold tier takes them. What goes wrong
 * with the copy is nobody's concern: then there is none.
 */
export class Tee {
  readonly #hot: HotFiles;
  readonly #uploadId: UploadId;
  readonly #appended: Promise<unknown>;
  #next = Promise.withResolvers<Uint8Array | null>();
  #taken = Promise.withResolvers<void>();
  #failed = false;

  constructor(hot: HotFiles, uploadId: UploadId, offset: number) {
    this.#hot = hot;
    this.#uploadId = uploadId;
    this.#taken.resolve();
    this.#appended = hot.copies
      .append(uploadId, offset, this.#given(), new AbortController().signal)
      .catch(() => {
        this.#failed = true;
        this.#taken.resolve();
      });
  }

  /** A chunk is its source's again only when both have taken it. */
  async *through(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of chunks) {
      const taken = this.#give(chunk);
      yield chunk;
      await taken;
    }
  }

  /** No chunk comes any more, also where the source hangs. Resolves when the copy has all that came. */
  async end(): Promise<void> {
    await this.#taken.promise;
    this.#next.resolve(null);
    await this.#appended;
    // Half a copy would look like the beginning of another one.
    if (this.#failed) await this.#hot.copies.discard(this.#uploadId).catch(() => undefined);
  }

  async #give(chunk: Uint8Array): Promise<void> {
    if (this.#failed) return;
    this.#taken = Promise.withResolvers();
    this.#next.resolve(chunk);
    await this.#taken.promise;
  }

  async *#given(): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      const chunk = await this.#next.promise;
      if (chunk === null) return;
      this.#next = Promise.withResolvers();
      yield chunk;
      this.#taken.resolve();
    }
  }
}
