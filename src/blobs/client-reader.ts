import { PatientReader } from '../std/patient-reader.ts';
import { untilAborted } from '../std/until-aborted.ts';

/** What a client is waited for, in all, before it is looked at how much it has sent meanwhile. */
const WAITED_MILLISECONDS_MAX = 5_000;
/** Less than that in that time is next to nothing. */
const BYTES_MIN = 64 * 1024;

/** The chunks of a body, whose reader hears of it when the client sends next to nothing: it may hold memory that others want. */
export class ClientReader {
  readonly #source: PatientReader<Uint8Array>;
  #waitedMilliseconds = 0;
  #bytes = 0;

  constructor(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal) {
    this.#source = new PatientReader(untilAborted(chunks, signal));
  }

  /** The next chunk, `null` at the end, `'slow'` every five seconds in which next to nothing came. */
  async next(): Promise<Uint8Array | 'slow' | null> {
    for (;;) {
      const since = performance.now();
      const isThere = await this.#source.hasNextWithin(WAITED_MILLISECONDS_MAX - this.#waitedMilliseconds);
      this.#waitedMilliseconds += performance.now() - since;
      if (this.#waitedMilliseconds >= WAITED_MILLISECONDS_MAX) {
        const isSlow = this.#bytes < BYTES_MIN;
        this.#waitedMilliseconds = 0;
        this.#bytes = 0;
        if (isSlow) return 'slow';
      }
      if (!isThere) continue;
      const { value } = await this.#source.next();
      this.#bytes += value?.byteLength ?? 0;
      return value ?? null;
    }
  }

  /** Waits for as long as it takes; whether there is another chunk. */
  async hasMore(): Promise<boolean> {
    return (await this.#source.peek()).done !== true;
  }

  close(): void {
    this.#source.close();
  }
}
