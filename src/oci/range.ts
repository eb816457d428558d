import { RegistryError } from './error-codes.ts';

/** Bytes `start` to `end`, both inclusive and within the blob (as in RFC 9110 `Content-Range`). */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** One `int-range` or `suffix-range` (RFC 9110, 14.1.1), not yet laid over a representation. */
type RangeSpec =
  | { readonly kind: 'from'; readonly start: bigint; readonly end: bigint | null }
  | { readonly kind: 'suffix'; readonly length: bigint };

/** Characters of a `Range` value that we read; a longer one is answered as too many ranges. */
const RANGE_HEADER_LENGTH_MAX = 65_536;
const RANGE_SPEC = /^(?:(\d+)-(\d*)|-(\d+))$/;

/**
 * The ranges a `Range` header asks of a blob, in the order asked and never merged: lazy pullers count the parts. Null means
 * that the header is to be ignored and the whole blob sent: an unknown unit, or text that is no byte range
 * (RFC 9110, 14.2). Ranges that lie beyond the end are dropped; when none is left the answer is 416. On an empty blob no
 * range is satisfiable, except that 14.1.2 calls a non-zero suffix satisfiable: that has no bytes to name in a
 * `Content-Range`, so it is answered by the whole (empty) blob.
 */
export function parseRange(
  header: string,
  sizeBytes: number,
  rangesMax: number,
): readonly ByteRange[] | null {
  const equals = header.indexOf('=');
  // Range units are case-insensitive (RFC 9110, 14.1).
  if (equals < 0 || header.slice(0, equals).trim().toLowerCase() !== 'bytes') return null;
  if (header.length > RANGE_HEADER_LENGTH_MAX) throw new RegistryError('RANGES_TOO_MANY');
  const specs = parseRangeSet(header.slice(equals + 1));
  if (specs === null) return null;
  if (specs.length > rangesMax) {
    throw new RegistryError('RANGES_TOO_MANY', `at most ${rangesMax} ranges are served in one request`);
  }
  if (sizeBytes === 0 && specs.some((spec) => spec.kind === 'suffix' && spec.length > 0n)) return null;

  // `500-0` is invalid: a server may ignore or reject it (RFC 9110, 14.2). The conformance suite wants the 416.
  const backward = specs.some((spec) => spec.kind === 'from' && spec.end !== null && spec.end < spec.start);
  const ranges = backward
    ? []
    : specs.map((spec) => satisfy(spec, sizeBytes)).filter((range) => range !== null);
  if (ranges.length === 0) {
    throw new RegistryError(
      'RANGE_NOT_SATISFIABLE',
      `no range asked for lies within the ${sizeBytes} bytes`,
      {
        headers: { 'Content-Range': `bytes */${sizeBytes}` },
      },
    );
  }
  if (anyOverlap(ranges)) throw new RegistryError('RANGES_TOO_MANY', 'the ranges asked for overlap');
  return ranges;
}

function parseRangeSet(text: string): RangeSpec[] | null {
  const specs: RangeSpec[] = [];
  for (const element of text.split(',')) {
    const item = element.trim();
    // A recipient must tolerate empty list elements (RFC 9110, 5.6.1.2).
    if (item === '') continue;
    const match = RANGE_SPEC.exec(item);
    if (match === null) return null;
    const [, start, end, suffix] = match;
    if (suffix !== undefined) {
      specs.push({ kind: 'suffix', length: BigInt(suffix) });
      continue;
    }
    specs.push({
      kind: 'from',
      start: BigInt(start ?? ''),
      end: end === undefined || end === '' ? null : BigInt(end),
    });
  }
  return specs.length === 0 ? null : specs;
}

function satisfy(spec: RangeSpec, sizeBytes: number): ByteRange | null {
  const size = BigInt(sizeBytes);
  if (spec.kind === 'suffix') {
    if (spec.length === 0n || size === 0n) return null;
    return { start: Number(spec.length >= size ? 0n : size - spec.length), end: sizeBytes - 1 };
  }
  if (spec.start >= size) return null;
  const end = spec.end === null || spec.end >= size ? sizeBytes - 1 : Number(spec.end);
  return { start: Number(spec.start), end };
}

function anyOverlap(ranges: readonly ByteRange[]): boolean {
  const sorted = [...ranges].sort((a, b) => a.start - b.start);
  return sorted.some((range, index) => {
    const previous = sorted[index - 1];
    return previous !== undefined && range.start <= previous.end;
  });
}
