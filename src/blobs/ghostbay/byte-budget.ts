/**
 * Bytes that one process may hold on their way to a store, over all uploads together. Whoever has to wait for room should
 * hold nothing meanwhile: else all wait for each other.
 */
export class ByteBudget {
  readonly #bytesMax: number;
  readonly #waiting = new Set<() => void>();
  #heldBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Somebody waits for some of it. */
  get isWanted(): boolean {
    return this.#waiting.size > 0;
  }

  /** Whether they fit. A piece larger than the whole budget fits when nothing else is held. */
  take(bytes: number): boolean {
    if (this.#heldBytes > 0 && this.#heldBytes + bytes > this.#bytesMax) return false;
    this.#heldBytes += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#heldBytes -= bytes;
    if (bytes === 0) return;
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Resolves when something was given back; rejects with the signal's reason when that aborts first. */
  async givenBack(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#waiting.add(resolve);
    try {
      await promise;
    } finally {
      this.#waiting.delete(resolve);
      signal.removeEventListener('abort', onAbort);
    }
  }
}
