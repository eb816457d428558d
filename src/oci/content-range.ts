import type { ByteRange } from './range.ts';

/** `a-b` as the distribution-spec wants it, and as RFC 9110 would write it: `bytes a-b/total`. */
const CONTENT_RANGE = /^(?:bytes +)?(\d{1,16})-(\d{1,16})(?:\/(?:\d{1,16}|\*))?$/i;

/** Where a chunk of an upload stands (distribution-spec, "Pushing a blob in chunks"); null when malformed. */
export function parseContentRange(header: string): ByteRange | null {
  const match = CONTENT_RANGE.exec(header.trim());
  if (match === null) return null;
  const start = Number(match[1]);
  const end = Number(match[2]);
  return Number.isSafeInteger(end) && start <= end ? { start, end } : null;
}
