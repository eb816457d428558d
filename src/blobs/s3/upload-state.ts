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
  readonly tail: Uint8Array;
}

/** Where the size of what is staged stands in the state's metadata, so that a look at it need not read the tail. */
export const SIZE_METADATA = 'drift-staged-bytes';

const NEWLINE = 0x0a;

export function partsBytes(parts: readonly Part[]): number {
  return parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** One line of JSON, then the tail. */
export function encodeHead(state: Omit<UploadState, 'tail'>): Buffer {
  const parts = state.parts.map(({ sizeBytes, etag }) => [sizeBytes, etag]);
  return Buffer.from(`${JSON.stringify({ version: 1, multipart: state.multipartId, parts })}\n`);
}

/** `null` for what no version of this store wrote. */
export function decodeState(bytes: Buffer): UploadState | null {
  const end = bytes.indexOf(NEWLINE);
  try {
    const head: unknown = JSON.parse(bytes.toString('utf8', 0, Math.max(0, end)));
    const { version, multipart, parts } = head as Record<string, unknown>;
    if (version !== 1 || typeof multipart !== 'string' || !Array.isArray(parts)) return null;
    return { multipartId: multipart, parts: parts.map(readPart), tail: bytes.subarray(end + 1) };
  } catch {
    return null;
  }
}

function readPart(entry: unknown): Part {
  const [sizeBytes, etag] = entry as [unknown, unknown];
  if (!Number.isSafeInteger(sizeBytes) || typeof etag !== 'string') throw new RangeError('not a part');
  return { sizeBytes: sizeBytes as number, etag };
}
