import { randomBytes } from 'node:crypto';
import type { ByteRange } from '../blobs/blob-store.ts';

/** The fixed bytes around the parts of a `multipart/byteranges` body (RFC 9110, 14.6). */
export interface RangesFrame {
  /** Unquoted letters and digits: some lazy pullers do not understand a quoted boundary. */
  readonly contentType: string;
  readonly heads: readonly Uint8Array[];
  readonly tail: Uint8Array;
  readonly lengthBytes: number;
}

export function frameRanges(
  ranges: readonly ByteRange[],
  blob: { readonly mediaType: string; readonly sizeBytes: number },
): RangesFrame {
  const boundary = randomBytes(16).toString('hex');
  const heads = ranges.map(({ start, end }, index) =>
    Buffer.from(
      `${index === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Type: ${blob.mediaType}\r\n` +
        `Content-Range: bytes ${start}-${end}/${blob.sizeBytes}\r\n\r\n`,
      'latin1',
    ),
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`, 'latin1');
  let lengthBytes = tail.length;
  for (const head of heads) lengthBytes += head.length;
  for (const { start, end } of ranges) lengthBytes += end - start + 1;
  return { contentType: `multipart/byteranges; boundary=${boundary}`, heads, tail, lengthBytes };
}
