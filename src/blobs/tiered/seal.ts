import { crc32 } from 'node:zlib';
import { type Digest, parseDigest } from '../../oci/digest.ts';
import type { BlobLocation, UploadId } from '../blob-store.ts';
import { parseUploadId } from '../upload-id.ts';

/** Bytes that are checked together: as many as the file system driver reads at once. */
export const PIECE_BYTES = 512 * 1024;

const MAGIC = Buffer.from('drifthot');
const SUM_BYTES = 4;
/** Length of the text, checksum of what stands before it, magic. */
const FOOTER_BYTES = 2 * SUM_BYTES + MAGIC.byteLength;
const TEXT_BYTES_MAX = 64 * 1024;

/**
 * What stands behind the bytes of a blob in a hot file, so that the file says by itself what it holds and whether it still
 * holds it: a checksum (CRC-32) of each piece, a text (JSON), and a footer.
 */
export interface Seal {
  /** Where the cold tier keeps the blob, or is going to. */
  readonly location: BlobLocation;
  /** The upload that brought the bytes here; of a copy that was read from the cold tier, that reading. */
  readonly uploadId: UploadId;
  readonly digest: Digest;
  readonly sizeBytes: number;
}

export interface SealedFile extends Seal {
  readonly sums: Uint32Array;
  /** Of the file, seal included. */
  readonly totalBytes: number;
}

/** Checksums of the pieces of what passes by. */
export class PieceSums {
  readonly #sums: number[] = [];
  #current = 0;
  #filled = 0;

  update(chunk: Uint8Array): void {
    for (let start = 0; start < chunk.byteLength; ) {
      const end = Math.min(chunk.byteLength, start + PIECE_BYTES - this.#filled);
      this.#current = crc32(chunk.subarray(start, end), this.#current);
      this.#filled += end - start;
      start = end;
      if (this.#filled === PIECE_BYTES) this.#endPiece();
    }
  }

  finish(): Uint32Array {
    if (this.#filled > 0) this.#endPiece();
    return Uint32Array.from(this.#sums);
  }

  #endPiece(): void {
    this.#sums.push(this.#current);
    this.#current = 0;
    this.#filled = 0;
  }
}

export function encodeSeal(seal: Seal, sums: Uint32Array): Buffer {
  const { location, uploadId, digest, sizeBytes } = seal;
  const table = Buffer.allocUnsafe(sums.length * SUM_BYTES);
  for (const [index, sum] of sums.entries()) table.writeUInt32BE(sum, index * SUM_BYTES);
  const text = Buffer.from(JSON.stringify({ location, uploadId, digest, sizeBytes }));
  const footer = Buffer.alloc(FOOTER_BYTES);
  footer.writeUInt32BE(text.byteLength, 0);
  footer.writeUInt32BE(crc32(text, crc32(table)), SUM_BYTES);
  MAGIC.copy(footer, 2 * SUM_BYTES);
  return Buffer.concat([table, text, footer]);
}

/** How many bytes at the end of a file to read for a seal, judged by its last ones; null where there is no seal. */
export function sealBytes(tail: Buffer, totalBytes: number): number | null {
  if (tail.byteLength < FOOTER_BYTES) return null;
  const footer = tail.subarray(tail.byteLength - FOOTER_BYTES);
  const textBytes = footer.readUInt32BE(0);
  if (!footer.subarray(2 * SUM_BYTES).equals(MAGIC) || textBytes > TEXT_BYTES_MAX) return null;
  // size + 4 × ceil(size ÷ piece) = rest; what the division leaves is less than a piece.
  const rest = totalBytes - FOOTER_BYTES - textBytes;
  const pieces = Math.ceil(rest / (PIECE_BYTES + SUM_BYTES));
  return rest < 0 ? null : pieces * SUM_BYTES + textBytes + FOOTER_BYTES;
}

/** `tail` is at least what `sealBytes` asked for; null where it is not a whole seal of a file of this size. */
export function parseSeal(tail: Buffer, totalBytes: number): SealedFile | null {
  const length = sealBytes(tail, totalBytes);
  if (length === null || tail.byteLength < length) return null;
  const seal = tail.subarray(tail.byteLength - length);
  const footer = seal.subarray(length - FOOTER_BYTES);
  const checked = seal.subarray(0, length - FOOTER_BYTES);
  if (crc32(checked) !== footer.readUInt32BE(SUM_BYTES)) return null;
  const table = checked.subarray(0, checked.byteLength - footer.readUInt32BE(0));
  const sums = new Uint32Array(table.byteLength / SUM_BYTES);
  for (const index of sums.keys()) sums[index] = table.readUInt32BE(index * SUM_BYTES);
  const text = parseText(checked.subarray(table.byteLength).toString());
  if (text === null || text.sizeBytes !== totalBytes - length) return null;
  return { ...text, sums, totalBytes };
}

function parseText(text: string): Seal | null {
  const { location, uploadId, digest, sizeBytes } = JSON.parse(text) as Record<string, unknown>;
  const id = typeof uploadId === 'string' ? parseUploadId(uploadId) : null;
  const parsed = typeof digest === 'string' ? parseDigest(digest) : null;
  if (typeof location !== 'string' || id === null || parsed === null) return null;
  if (typeof sizeBytes !== 'number' || !Number.isSafeInteger(sizeBytes)) return null;
  return { location: location as BlobLocation, uploadId: id, digest: parsed, sizeBytes };
}
