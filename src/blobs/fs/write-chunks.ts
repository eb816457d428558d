import type { FileHandle } from 'node:fs/promises';
import { untilAborted } from '../../std/until-aborted.ts';

/**
 * So many bytes are handed to the device while more come: left to the kernel, most of a large blob would still wait in memory
 * for the sync of its commit.
 */
const SYNC_EVERY_BYTES = 64 * 1024 * 1024;

/** A sync in the middle of an append failed: what was staged may be lost, though a later sync would not say so. */
export class SyncFailed extends Error {}

/**
 * Writes the chunks at `position` onward; resolves with the position behind them. A chunk is written whole before the next
 * one is asked for: by then its source may fill it again, and a source that gathers large chunks meanwhile loses no time.
 * Throws `SyncFailed`, above whatever else failed.
 */
export async function writeChunks(
  handle: FileHandle,
  position: number,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<number> {
  const behind = new SyncBehind(handle, position);
  let end = position;
  try {
    for await (const chunk of untilAborted(chunks, signal)) {
      await writeWhole(handle, chunk, end);
      end += chunk.byteLength;
      behind.wrote(end);
    }
  } finally {
    await behind.settle();
  }
  return end;
}

/** Syncs what was written while more is written, one sync at a time. */
class SyncBehind {
  readonly #handle: FileHandle;
  #syncedTo: number;
  #syncing: Promise<void> | null = null;
  #failure: SyncFailed | null = null;

  constructor(handle: FileHandle, position: number) {
    this.#handle = handle;
    this.#syncedTo = position;
  }

  wrote(end: number): void {
    if (this.#failure !== null) throw this.#failure;
    if (this.#syncing !== null || end - this.#syncedTo < SYNC_EVERY_BYTES) return;
    this.#syncedTo = end;
    this.#syncing = this.#handle
      .datasync()
      .catch((error: unknown) => {
        this.#failure = new SyncFailed('a sync in the middle of an upload failed', { cause: error });
      })
      .finally(() => {
        this.#syncing = null;
      });
  }

  async settle(): Promise<void> {
    await this.#syncing;
    if (this.#failure !== null) throw this.#failure;
  }
}

/** A device that is nearly full takes only the first bytes of a write, and says why at the next one. */
async function writeWhole(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < chunk.byteLength) {
    const rest = chunk.byteLength - written;
    written += (await handle.write(chunk, written, rest, position + written)).bytesWritten;
  }
}
