import type { FileHandle } from 'node:fs/promises';
import { untilAborted } from '../../std/until-aborted.ts';

/**
 * Writes the chunks at `position` onward; resolves with the position behind them. A chunk is written whole before the next
 * one is asked for: by then its source may fill it again, and a source that gathers large chunks meanwhile loses no time.
 */
export async function writeChunks(
  handle: FileHandle,
  position: number,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<number> {
  let end = position;
  for await (const chunk of untilAborted(chunks, signal)) {
    await writeWhole(handle, chunk, end);
    end += chunk.byteLength;
  }
  return end;
}

/** A device that is nearly full takes only the first bytes of a write, and says why at the next one. */
async function writeWhole(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < chunk.byteLength) {
    const rest = chunk.byteLength - written;
    written += (await handle.write(chunk, written, rest, position + written)).bytesWritten;
  }
}
