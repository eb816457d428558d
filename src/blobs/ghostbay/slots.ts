import type { UploadId } from '../blob-store.ts';
import { DamagedBlob } from '../damaged-blob.ts';
import { type Bucket, LISTED_KEYS_MAX } from './bucket.ts';
import { decodeHead, encodeHead, type Head } from './head.ts';
import { blobKey, type Slot, segmentKey, slotKey } from './layout.ts';

/** Requests to the server that one removal makes at a time. */
const REMOVALS_AT_ONCE = 8;
const SLOTS: readonly Slot[] = ['a', 'b'];

/**
 * The head of an open upload. GhostBay cannot write over a key, and between a delete and a put a crash would lose the
 * upload: so the head is written to the slot that does not hold it, and counts when its number is the larger one.
 */
export class Slots {
  readonly uploadId: UploadId;
  readonly #bucket: Bucket;
  /** A slot that holds something that is no head is like an empty one, but has to be deleted before it is written. */
  readonly #held: Map<Slot, Head | 'unreadable'>;

  private constructor(bucket: Bucket, uploadId: UploadId, held: Map<Slot, Head | 'unreadable'>) {
    this.#bucket = bucket;
    this.uploadId = uploadId;
    this.#held = held;
  }

  static async read(bucket: Bucket, uploadId: UploadId): Promise<Slots> {
    const objects = await Promise.all(SLOTS.map((slot) => bucket.get(slotKey(uploadId, slot))));
    const held = new Map<Slot, Head | 'unreadable'>();
    SLOTS.forEach((slot, index) => {
      const bytes = objects[index] ?? null;
      if (bytes !== null) held.set(slot, headIn(slotKey(uploadId, slot), bytes));
    });
    return new Slots(bucket, uploadId, held);
  }

  /** Null: the upload is unknown. */
  get head(): Head | null {
    return this.heads.at(-1) ?? null;
  }

  /** What is in the slots, the true one last. */
  get heads(): Head[] {
    return [...this.#held.values()]
      .filter((head) => head !== 'unreadable')
      .sort((one, other) => one.sequence - other.sequence);
  }

  async write(head: Omit<Head, 'sequence'>, signal?: AbortSignal): Promise<void> {
    const current = this.head;
    const slot = SLOTS.find((name) => this.#held.get(name) !== current || current === null) ?? 'a';
    const next: Head = { ...head, sequence: (current?.sequence ?? 0) + 1 };
    const mayExist = this.#held.has(slot);
    this.#held.set(slot, 'unreadable');
    await this.#bucket.put(slotKey(this.uploadId, slot), [encodeHead(next)], {
      mayExist,
      ...(signal === undefined ? {} : { signal }),
    });
    this.#held.set(slot, next);
  }

  /** The true head goes last: a crash must not bring the other one back to life. */
  async remove(): Promise<void> {
    const { head } = this;
    const others = SLOTS.filter((slot) => this.#held.has(slot) && this.#held.get(slot) !== head);
    const last = SLOTS.filter((slot) => this.#held.has(slot) && !others.includes(slot));
    for (const slot of [...others, ...last]) {
      await this.#bucket.delete(slotKey(this.uploadId, slot));
      this.#held.delete(slot);
    }
  }
}

/** Null when there is none. */
export async function lookAtBlobHead(
  bucket: Bucket,
  uploadId: UploadId,
): Promise<Head | 'unreadable' | null> {
  try {
    return await readBlobHead(bucket, uploadId);
  } catch (error) {
    if (error instanceof DamagedBlob) return 'unreadable';
    throw error;
  }
}

function headIn(key: string, bytes: Buffer): Head | 'unreadable' {
  try {
    return decodeHead(key, bytes);
  } catch {
    return 'unreadable';
  }
}

/** The head of a blob; null when there is none. Throws `DamagedBlob` when it is none. */
export async function readBlobHead(bucket: Bucket, uploadId: UploadId): Promise<Head | null> {
  const key = blobKey(uploadId);
  const bytes = await bucket.get(key);
  return bytes === null ? null : decodeHead(key, bytes);
}

/** Where no head says what there is: GhostBay's listing does, 1000 at a time. */
export async function removeAllSegments(bucket: Bucket, uploadId: UploadId): Promise<void> {
  let keys: string[];
  do {
    keys = await bucket.list(segmentKey(uploadId, ''));
    for (const key of keys) await bucket.delete(key);
  } while (keys.length === LISTED_KEYS_MAX);
}

export async function removeSegments(
  bucket: Bucket,
  uploadId: UploadId,
  names: readonly string[],
): Promise<void> {
  for (let start = 0; start < names.length; start += REMOVALS_AT_ONCE) {
    const some = names.slice(start, start + REMOVALS_AT_ONCE);
    await Promise.all(some.map((name) => bucket.delete(segmentKey(uploadId, name))));
  }
}
