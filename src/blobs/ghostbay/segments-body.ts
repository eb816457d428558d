import type { BlobBody, ByteRange, UploadId } from '../blob-store.ts';
import { DamagedBlob } from '../damaged-blob.ts';
import type { Bucket } from './bucket.ts';
import { piecesOf } from './exchange.ts';
import { unavailable, unavailableNow } from './failures.ts';
import { type Head, type Segment, segmentName, sizeOf } from './head.ts';
import { segmentKey } from './layout.ts';

/**
 * The bytes of a head, segment by segment. GhostBay serves no ranges: the first segment of a range is read from its
 * beginning and cut, and the connection is given up once the range is served. So a range costs a segment more at most.
 */
export class SegmentsBody implements BlobBody {
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly bytes?: Uint8Array;
  readonly #bucket: Bucket;
  readonly #uploadId: UploadId;
  readonly #head: Head;
  readonly #signal: AbortSignal;
  readonly #closed = new AbortController();

  constructor(
    bucket: Bucket,
    uploadId: UploadId,
    body: { readonly head: Head; readonly range: ByteRange | null; readonly signal: AbortSignal },
  ) {
    this.#bucket = bucket;
    this.#uploadId = uploadId;
    this.#head = body.head;
    this.#signal = body.signal;
    this.sizeBytes = sizeOf(body.head);
    const from = body.range?.start ?? 0;
    const to = body.range === null ? this.sizeBytes : body.range.end + 1;
    this.chunks = this.#read(from, to);
    if (body.head.segments.length === 0 && to <= this.sizeBytes)
      this.bytes = body.head.tail.subarray(from, to);
  }

  async close(): Promise<void> {
    this.#closed.abort(new Error('the body was closed before its end'));
  }

  async *#read(from: number, to: number): AsyncGenerator<Uint8Array, void, void> {
    const signal = AbortSignal.any([this.#signal, this.#closed.signal]);
    let start = 0;
    for (const segment of this.#head.segments) {
      const end = start + segment.sizeBytes;
      if (end > from && start < to) {
        const part = { start: Math.max(from - start, 0), end: Math.min(to - start, segment.sizeBytes) };
        yield* this.#readSegment(segment, { ...part, signal });
      }
      start = end;
    }
    signal.throwIfAborted();
    const tail = this.#head.tail.subarray(Math.max(from - start, 0), Math.max(to - start, 0));
    if (tail.byteLength > 0) yield tail;
    signal.throwIfAborted();
    if (to > this.sizeBytes) throw unavailable('a blob ends before the range asked for');
  }

  /** Bytes `start` up to `end` (not included) of the segment. */
  async *#readSegment(
    segment: Segment,
    part: { readonly start: number; readonly end: number; readonly signal: AbortSignal },
  ): AsyncGenerator<Uint8Array, void, void> {
    const name = segmentName(this.#head.life, segment.number);
    const opened = await this.#bucket.open(segmentKey(this.#uploadId, name), part.signal);
    if (opened?.sizeBytes !== segment.sizeBytes) {
      opened?.answer.destroy();
      throw new DamagedBlob('a segment of a blob is not in the bucket as it was written');
    }
    let position = 0;
    for await (const piece of piecesOf(opened.answer, part.signal)) {
      const chunk = piece.subarray(Math.max(part.start - position, 0), Math.max(part.end - position, 0));
      position += piece.byteLength;
      if (chunk.byteLength > 0) yield chunk;
      part.signal.throwIfAborted();
      if (position >= part.end && part.end < segment.sizeBytes) return;
    }
    if (position < part.end) throw unavailableNow('a segment of a blob ends too early');
  }
}
