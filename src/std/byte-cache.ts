import { LRUCache } from 'lru-cache';

/** Bytes that never change under their key (a digest), in memory: the least recently used go first. */
export class ByteCache {
  readonly #cache: LRUCache<string, Uint8Array> | null;

  /** Zero bytes: nothing is kept. */
  constructor(limits: { readonly bytesMax: number; readonly entryBytesMax: number }) {
    const { bytesMax, entryBytesMax } = limits;
    this.#cache =
      bytesMax < 1
        ? null
        : new LRUCache({
            maxSize: bytesMax,
            maxEntrySize: Math.min(entryBytesMax, bytesMax),
            // An entry costs more than its bytes, and an empty one is not free.
            sizeCalculation: (bytes, key) => bytes.byteLength + key.length + ENTRY_OVERHEAD_BYTES,
          });
  }

  get(key: string): Uint8Array | null {
    return this.#cache?.get(key) ?? null;
  }

  /** Keeps the bytes themselves: nobody may write to them afterwards. Too long ones are not kept. */
  put(key: string, bytes: Uint8Array): void {
    this.#cache?.set(key, bytes);
  }
}

const ENTRY_OVERHEAD_BYTES = 256;
