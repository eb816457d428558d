import { DamagedBlob } from '../damaged-blob.ts';

/**
 * The head of an upload or a blob: one object that says which segments hold its bytes, and holds the last few bytes itself.
 * On the wire: one line of JSON, a line feed, the bytes of the tail.
 */
export interface Head {
  readonly life: string;
  /** Of two slots, the one with the larger number is true. */
  readonly sequence: number;
  readonly segments: readonly Segment[];
  /** Bytes behind the last segment, at most `TAIL_BYTES_MAX`. */
  readonly tail: Uint8Array;
  /** Segments that may be there and are nobody's any more, as `<life>-<number>`. */
  readonly garbage: readonly string[];
  /** No segment of this life was ever begun with this number or a larger one … */
  readonly next: number;
  /** … but for those below this number, which a request may have begun that did not come to its end. */
  readonly reserved: number;
  /** Milliseconds since the epoch. */
  readonly modifiedAt: number;
}

export interface Segment {
  readonly number: number;
  readonly sizeBytes: number;
}

/** What a head holds itself: most configurations and attestations need no segment. */
export const TAIL_BYTES_MAX = 256 * 1024;
/** Segments of one upload: what its head takes to read and write. */
export const SEGMENTS_MAX = 100_000;

export function sizeOf(head: Pick<Head, 'segments' | 'tail'>): number {
  return head.segments.reduce((sum, segment) => sum + segment.sizeBytes, head.tail.byteLength);
}

export function segmentName(life: string, number: number): string {
  return `${life}-${number}`;
}

export function segmentNames(head: Head): string[] {
  return head.segments.map(({ number }) => segmentName(head.life, number));
}

/** What may lie in the bucket for this head and is not its bytes. */
export function garbageOf(head: Omit<Head, 'sequence'>): string[] {
  const names = new Set(head.garbage);
  for (let number = head.next; number < head.reserved; number++) names.add(segmentName(head.life, number));
  return [...names];
}

export function encodeHead(head: Head): Buffer {
  const { tail, segments, ...rest } = head;
  const line = JSON.stringify({
    format: 1,
    ...rest,
    segments: segments.map(({ number, sizeBytes }) => [number, sizeBytes]),
    tailBytes: tail.byteLength,
  });
  return Buffer.concat([Buffer.from(`${line}\n`), tail]);
}

/** Throws `DamagedBlob` for bytes that `encodeHead` did not write, or not all of them. */
export function decodeHead(key: string, bytes: Buffer): Head {
  const end = bytes.indexOf(0x0a);
  try {
    const { format, tailBytes, segments, ...rest } = JSON.parse(bytes.toString('utf8', 0, end)) as Omit<
      Head,
      'segments' | 'tail'
    > & { format: number; tailBytes: number; segments: [number, number][] };
    const tail = bytes.subarray(end + 1);
    if (format === 1 && tail.byteLength === tailBytes) {
      return { ...rest, segments: segments.map(([number, sizeBytes]) => ({ number, sizeBytes })), tail };
    }
  } catch (error) {
    throw new DamagedBlob(`the object ${key} is not what was written there`, error);
  }
  throw new DamagedBlob(`the object ${key} is not what was written there`);
}
