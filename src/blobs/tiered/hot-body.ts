import { crc32 } from 'node:zlib';
import { Unavailable } from '../../std/unavailable.ts';
import type { BlobBody, BlobStore, ByteRange } from '../blob-store.ts';
import type { HotFile, HotFiles } from './hot-files.ts';
import { PIECE_BYTES, type SealedFile } from './seal.ts';

interface HotBodyParts {
  readonly hot: HotFiles;
  readonly cold: Pick<BlobStore, 'open'>;
  readonly file: HotFile;
  /** From the first byte of the piece in which the range begins to the last one of that in which it ends. */
  readonly body: BlobBody | null;
  readonly range: ByteRange;
  readonly signal: AbortSignal;
  /** A copy did not hold what it was made to hold, or could not be read. It has been removed. */
  readonly onRot: (problem: unknown) => void;
}

/** Opens what `file` says is there; null when it has gone meanwhile. */
export async function openHotBody(
  parts: Omit<HotBodyParts, 'body' | 'range'> & { readonly range: ByteRange | null },
): Promise<BlobBody | null> {
  const { seal } = parts.file;
  const range = parts.range ?? { start: 0, end: seal.sizeBytes - 1 };
  if (range.end < range.start) return new HotBody({ ...parts, body: null, range });
  const pieces = {
    start: range.start - (range.start % PIECE_BYTES),
    end: Math.min(seal.sizeBytes, (Math.floor(range.end / PIECE_BYTES) + 1) * PIECE_BYTES) - 1,
  };
  const body = await parts.hot.openFile(parts.file, pieces, parts.signal);
  return body === null ? null : new HotBody({ ...parts, body, range });
}

/**
 * Every piece is checked before any of it goes out. When one is rotten, the copy goes and the rest comes from the cold tier:
 * the reader does not notice.
 */
class HotBody implements BlobBody {
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly recycle?: (chunk: Uint8Array) => void;
  readonly #parts: HotBodyParts;
  #cold: BlobBody | null = null;
  #closed = false;

  constructor(parts: HotBodyParts) {
    this.#parts = parts;
    this.sizeBytes = parts.file.seal.sizeBytes;
    if (parts.body?.recycle !== undefined) this.recycle = parts.body.recycle;
    this.chunks = this.#read();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#parts.body?.close();
    await this.#cold?.close();
  }

  async *#read(): AsyncGenerator<Uint8Array, void, void> {
    const { body, range, file } = this.#parts;
    this.#throwIfEnded();
    let position = range.start;
    if (body === null) return;
    try {
      try {
        const first = Math.floor(range.start / PIECE_BYTES);
        let at = first * PIECE_BYTES;
        for await (const piece of checkedPieces(body.chunks, { seal: file.seal, first })) {
          const bytes = piece.subarray(Math.max(0, position - at), range.end + 1 - at);
          at += piece.byteLength;
          position += bytes.byteLength;
          yield bytes;
        }
      } catch (error) {
        this.#throwIfEnded();
        await this.#drop(error);
        yield* this.#readCold(position);
      }
    } finally {
      await this.close();
    }
  }

  async #drop(problem: unknown): Promise<void> {
    const { hot, file, onRot } = this.#parts;
    await this.#parts.body?.close();
    if (file.place === 'backlog') throw damaged(file, problem);
    await hot.drop(file.seal.location).catch(() => undefined);
    onRot(problem);
  }

  async *#readCold(start: number): AsyncGenerator<Uint8Array, void, void> {
    const { cold, file, range, signal } = this.#parts;
    this.#cold = await cold.open(file.seal.location, { start, end: range.end }, signal);
    if (this.#cold === null || this.#cold.sizeBytes !== this.sizeBytes) {
      throw new Unavailable('blob store', 'the cold tier has not the blob whose copy is rotten', {
        retryable: false,
      });
    }
    if (this.#closed) await this.#cold.close();
    yield* this.#cold.chunks;
  }

  #throwIfEnded(): void {
    this.#parts.signal.throwIfAborted();
    if (this.#closed) throw new Error('the body was closed before its end');
  }
}

/** The whole pieces of a sealed file from number `first` on; throws at the first that is not what was sealed. */
export async function* checkedPieces(
  chunks: AsyncIterable<Uint8Array>,
  file: { readonly seal: SealedFile; readonly first: number },
): AsyncGenerator<Uint8Array, void, void> {
  const { seal, first } = file;
  let index = first;
  const length = (): number => Math.min(PIECE_BYTES, seal.sizeBytes - index * PIECE_BYTES);
  let gathered: Uint8Array[] = [];
  let gatheredBytes = 0;
  for await (const chunk of chunks) {
    for (let start = 0; start < chunk.byteLength; ) {
      const part = chunk.subarray(start, start + length() - gatheredBytes);
      start += part.byteLength;
      gathered.push(part);
      gatheredBytes += part.byteLength;
      if (gatheredBytes < length()) continue;
      const piece = gathered.length === 1 ? part : Buffer.concat(gathered);
      if (crc32(piece) !== seal.sums[index]) throw rotten(index);
      [gathered, gatheredBytes] = [[], 0];
      index += 1;
      yield piece;
    }
  }
}

function rotten(index: number): Error {
  return new Error(
    `piece ${index} (of ${PIECE_BYTES} bytes each) has another checksum than when it was written`,
  );
}

function damaged(file: HotFile, cause: unknown): Unavailable {
  const message = `blob ${file.seal.digest} is damaged on this machine, and the cold tier has it not yet; see the operator's guide`;
  return new Unavailable('blob store', message, { retryable: false, cause });
}
