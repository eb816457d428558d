import { randomBytes } from 'node:crypto';
import type { Bucket } from './bucket.ts';
import type { ByteBudget } from './byte-budget.ts';
import { piecesOf } from './exchange.ts';
import { unavailable, unavailableNow } from './failures.ts';
import {
  garbageOf,
  type Head,
  SEGMENTS_MAX,
  type Segment,
  segmentName,
  sizeOf,
  TAIL_BYTES_MAX,
} from './head.ts';
import { segmentKey } from './layout.ts';
import { removeSegments, type Slots } from './slots.ts';

/** Segments that a head announces at once, so that a crash leaves none that nobody knows of. */
const RESERVED_SEGMENTS = 16;
const LIFE_BYTES = 4;
/** How long an upload waits for others to let go of memory. */
const ROOM_MILLISECONDS_MAX = 30_000;

export interface WriterDeps {
  readonly bucket: Bucket;
  readonly budget: ByteBudget;
  readonly segmentBytes: number;
}

/**
 * Bytes on their way into an upload: gathered to segments of `segmentBytes` (and at most one chunk more), one being sent
 * while the next one is gathered. The upload's head tells of nothing new until `finish`.
 */
export class SegmentWriter {
  readonly #deps: WriterDeps;
  readonly #slots: Slots;
  readonly #lost: AbortSignal | undefined;
  /** What the slots tell of the upload so far. */
  #told: Omit<Head, 'sequence'>;
  readonly #garbage: string[] = [];
  #segments: Segment[] = [];
  #next: number;
  #pieces: Uint8Array[] = [];
  #gatheredBytes = 0;
  #sending: Promise<void> | null = null;
  #isBroken = false;

  private constructor(deps: WriterDeps, slots: Slots, lost: AbortSignal | undefined) {
    this.#deps = deps;
    this.#lost = lost;
    this.#slots = slots;
    this.#told = slots.head ?? newHead();
    this.#next = Math.max(this.#told.next, this.#told.reserved);
  }

  /** Goes on at `offset`, within what is staged. */
  static async open(
    deps: WriterDeps,
    slots: Slots,
    at: { readonly offset: number; readonly signal: AbortSignal; readonly lost?: AbortSignal | undefined },
  ): Promise<SegmentWriter> {
    const writer = new SegmentWriter(deps, slots, at.lost);
    try {
      await removeSegments(deps.bucket, slots.uploadId, garbageOf(writer.#told));
      writer.#told = { ...writer.#told, garbage: [], next: writer.#next, reserved: writer.#next };
      await writer.#cut(at);
      return writer;
    } catch (error) {
      writer.close();
      throw error;
    }
  }

  /** The chunk is the caller's again when this resolves. */
  async take(chunk: Uint8Array, signal: AbortSignal): Promise<void> {
    if (chunk.byteLength === 0) return;
    await this.#makeRoom(chunk.byteLength, signal);
    this.#hold(Uint8Array.from(chunk));
    if (this.#gatheredBytes >= this.#deps.segmentBytes) await this.#send();
  }

  /** What it holds goes out now, where others wait for memory. */
  async giveWay(): Promise<void> {
    if (!this.#deps.budget.isWanted) return;
    await this.#send();
    await this.#sent();
  }

  /** Makes the head tell of everything that was taken; after a failure, of what was sent before it. The size in bytes. */
  async finish(): Promise<number> {
    if (!this.#isBroken && this.#gatheredBytes > TAIL_BYTES_MAX) await this.#send();
    if (!this.#isBroken) await this.#sent();
    const tail = this.#isBroken ? Buffer.alloc(0) : Buffer.concat(this.#pieces);
    const head = {
      life: this.#told.life,
      segments: this.#segments,
      tail,
      garbage: this.#garbage,
      next: this.#next,
      reserved: this.#next,
      modifiedAt: Date.now(),
    };
    await this.#slots.write(head, this.#lost);
    return sizeOf(head);
  }

  /** Gives back the memory that it still holds. */
  close(): void {
    this.#deps.budget.giveBack(this.#gatheredBytes);
    this.#pieces = [];
    this.#gatheredBytes = 0;
  }

  /** Segments before the offset stay. GhostBay copies nothing: what stays of a segment is read and gathered again. */
  async #cut(at: { readonly offset: number; readonly signal: AbortSignal }): Promise<void> {
    let start = 0;
    for (const segment of this.#told.segments) {
      const end = start + segment.sizeBytes;
      if (end <= at.offset) this.#segments.push(segment);
      else {
        this.#garbage.push(segmentName(this.#told.life, segment.number));
        if (start < at.offset) await this.#takeAgain(segment, { ...at, bytes: at.offset - start });
      }
      start = end;
    }
    if (at.offset <= start) return;
    await this.take(this.#told.tail.subarray(0, at.offset - start), at.signal);
  }

  async #takeAgain(
    segment: Segment,
    wanted: { readonly bytes: number; readonly signal: AbortSignal },
  ): Promise<void> {
    const key = segmentKey(this.#slots.uploadId, segmentName(this.#told.life, segment.number));
    const opened = await this.#deps.bucket.open(key, wanted.signal);
    if (opened?.sizeBytes !== segment.sizeBytes) {
      opened?.answer.destroy();
      throw unavailable('a segment of an upload is not in the bucket as it was written');
    }
    let left = wanted.bytes;
    for await (const piece of piecesOf(opened.answer, wanted.signal)) {
      const part = piece.subarray(0, left);
      await this.take(part, wanted.signal);
      left -= part.byteLength;
      if (left === 0) return;
    }
    throw unavailableNow('a segment of an upload ends too early');
  }

  #hold(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#gatheredBytes += piece.byteLength;
  }

  /** What this upload holds goes out before it waits, so that no two wait for each other. */
  async #makeRoom(bytes: number, signal: AbortSignal): Promise<void> {
    const { budget } = this.#deps;
    if (budget.take(bytes)) return;
    await this.#send();
    await this.#sent();
    const tooLong = AbortSignal.timeout(ROOM_MILLISECONDS_MAX);
    while (!budget.take(bytes)) {
      try {
        await budget.givenBack(AbortSignal.any([signal, tooLong]));
      } catch (error) {
        signal.throwIfAborted();
        throw unavailableNow('the memory for bytes on their way to GhostBay is in use', error);
      }
    }
  }

  /** Begins to send what was gathered. */
  async #send(): Promise<void> {
    await this.#sent();
    if (this.#gatheredBytes === 0) return;
    if (this.#segments.length >= SEGMENTS_MAX) {
      throw unavailable(`an upload has ${SEGMENTS_MAX} segments: set a larger ghostbay.segment_size`);
    }
    await this.#reserve();
    const number = this.#next++;
    const pieces = this.#pieces;
    const sizeBytes = this.#gatheredBytes;
    this.#pieces = [];
    this.#gatheredBytes = 0;
    const { bucket, budget } = this.#deps;
    const name = segmentName(this.#told.life, number);
    this.#sending = bucket
      .put(
        segmentKey(this.#slots.uploadId, name),
        pieces,
        this.#lost === undefined ? {} : { signal: this.#lost },
      )
      .then(() => void this.#segments.push({ number, sizeBytes }))
      .finally(() => budget.giveBack(sizeBytes));
    // Whoever asks next hears of it.
    this.#sending.catch(() => {
      this.#isBroken = true;
      this.#garbage.push(name);
    });
  }

  async #sent(): Promise<void> {
    const sending = this.#sending;
    this.#sending = null;
    await sending;
  }

  /** The head that is told stays as it is, but says which segments may be there from now on. */
  async #reserve(): Promise<void> {
    if (this.#next < this.#told.reserved) return;
    const told = { ...this.#told, reserved: this.#next + RESERVED_SEGMENTS };
    await this.#slots.write(told, this.#lost);
    this.#told = told;
  }
}

function newHead(): Omit<Head, 'sequence'> {
  return {
    life: randomBytes(LIFE_BYTES).toString('hex'),
    segments: [],
    tail: Buffer.alloc(0),
    garbage: [],
    next: 0,
    reserved: 0,
    modifiedAt: Date.now(),
  };
}
