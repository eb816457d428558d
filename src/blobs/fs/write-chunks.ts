import type { FileHandle } from 'node:fs/promises';
import { untilAborted } from '../../std/until-aborted.ts';

/** Bytes gathered before they are written in one call. At most two such batches are in memory per upload. */
const BATCH_BYTES = 1024 * 1024;
/** Pieces of one batch: keeps below IOV_MAX, and many tiny slices from holding on to many large buffers. */
const BATCH_PIECES_MAX = 256;

/**
 * Writes the chunks at `position` onward; one batch is written while the next one is received. Whatever was received
 * before the chunks or the signal ended it by an error is written before that error is thrown. Chunks are held until written:
 * their source may not write over them.
 */
export async function writeChunks(
  handle: FileHandle,
  position: number,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<number> {
  const writer = new BatchWriter(handle, position);
  try {
    for await (const chunk of untilAborted(chunks, signal)) await writer.push(chunk);
  } catch (error) {
    // The error on its way out matters more than one met while saving what was received before it.
    await writer.end().catch(() => undefined);
    throw error;
  }
  await writer.end();
  return writer.position;
}

class BatchWriter {
  readonly #handle: FileHandle;
  #position: number;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(handle: FileHandle, position: number) {
    this.#handle = handle;
    this.#position = position;
  }

  get position(): number {
    return this.#position;
  }

  async push(piece: Uint8Array): Promise<void> {
    if (piece.byteLength === 0) return;
    this.#pieces.push(piece);
    this.#bytes += piece.byteLength;
    if (this.#bytes >= BATCH_BYTES || this.#pieces.length >= BATCH_PIECES_MAX) await this.#flush();
  }

  async end(): Promise<void> {
    await this.#flush();
    await this.#writing;
  }

  /** Waits for the batch before this one, then begins to write this one and returns. */
  async #flush(): Promise<void> {
    await this.#writing;
    if (this.#bytes === 0) return;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#bytes = 0;
    this.#writing = this.#write(pieces);
    // Its failure is met at the next await of it.
    this.#writing.catch(() => undefined);
  }

  async #write(batch: readonly Uint8Array[]): Promise<void> {
    let pieces = batch;
    while (pieces.length > 0) {
      const { bytesWritten } = await this.#handle.writev(pieces, this.#position);
      this.#position += bytesWritten;
      pieces = without(pieces, bytesWritten);
    }
  }
}

/** What is left after a write that took only the first bytes. */
function without(pieces: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let rest = bytes;
  for (const [index, piece] of pieces.entries()) {
    if (rest < piece.byteLength) return [piece.subarray(rest), ...pieces.slice(index + 1)];
    rest -= piece.byteLength;
  }
  return [];
}
