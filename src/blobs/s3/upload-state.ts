/** A part that the store has. Its number is its place in the list, from 1. */
export interface Part {
  readonly sizeBytes: number;
  readonly etag: string;
}

/**
 * What is staged of an upload too large for one request: parts of a multipart upload and, behind them, bytes that make no
 * part yet. Neither parts nor tail: the multipart upload exists, and what is staged is still the object at the key.
 */
export interface UploadState {
  readonly multipartId: string;
  readonly parts: readonly Part[];
  readonly tailBytes: number;
}

/** Where the size of what is staged stands in the state's metadata, so that a look at it need not read the state. */
export const SIZE_METADATA = 'drift-staged-bytes';

const NEWLINE = 0x0a;

export function partsBytes(parts: readonly Part[]): number {
  return parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

export function stagedBytes({ parts, tailBytes }: Omit<UploadState, 'multipartId'>): number {
  return partsBytes(parts) + tailBytes;
}

/** One line of JSON. The tail follows it in the same object. */
export function encodeHead(state: Omit<UploadState, 'tailBytes'>): Buffer {
  const parts = state.parts.map(({ sizeBytes, etag }) => [sizeBytes, etag]);
  return Buffer.from(`${JSON.stringify({ version: 1, multipart: state.multipartId, parts })}\n`);
}

/** Bytes of the head at the beginning of the object; `null` when `bytes` do not hold all of it. */
export function headBytesIn(bytes: Buffer): number | null {
  const end = bytes.indexOf(NEWLINE);
  return end < 0 ? null : end + 1;
}

/** `null` for what no version of this store wrote. */
export function decodeHead(head: Buffer): Omit<UploadState, 'tailBytes'> | null {
  try {
    const { version, multipart, parts } = JSON.parse(head.toString()) as Record<string, unknown>;
    if (version !== 1 || typeof multipart !== 'string' || !Array.isArray(parts)) return null;
    return { multipartId: multipart, parts: parts.map(readPart) };
  } catch {
    return null;
  }
}

function readPart(entry: unknown): Part {
  const [sizeBytes, etag] = entry as [unknown, unknown];
  if (!Number.isSafeInteger(sizeBytes) || typeof etag !== 'string') throw new RangeError('not a part');
  return { sizeBytes: sizeBytes as number, etag };
}
