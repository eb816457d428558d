import type { Digest } from '../../oci/digest.ts';
import { either } from '../../std/either.ts';
import {
  type BlobBody,
  type BlobLocation,
  type BlobStore,
  type ByteRange,
  type Page,
  SIZE_UNKNOWN,
  type StagedUpload,
  type StoredBlob,
  type UploadId,
} from '../blob-store.ts';
import { nothing } from '../body-bytes.ts';
import { ClientReader } from '../client-reader.ts';
import { Bucket, type BucketOptions } from './bucket.ts';
import { ByteBudget } from './byte-budget.ts';
import { encodeHead, garbageOf, type Head, segmentName, segmentNames, sizeOf } from './head.ts';
import { blobKey, isLocation, locationOf, uploadOf } from './layout.ts';
import { pageOfUploads } from './listing.ts';
import { SegmentWriter, type WriterDeps } from './segment-writer.ts';
import { SegmentsBody } from './segments-body.ts';
import { lookAtBlobHead, readBlobHead, removeAllSegments, removeSegments, Slots } from './slots.ts';

export interface GhostbayOptions extends BucketOptions {
  /** Of one object with bytes of a blob; GhostBay holds a whole one in memory. */
  readonly segmentBytes: number;
  /** Bytes on their way to the store, of all uploads of this process. */
  readonly uploadMemoryBytesMax: number;
}

/** Opens the store. Throws `Unavailable` with a sentence when the bucket cannot be written to. */
export async function openGhostbayBlobStore(options: GhostbayOptions): Promise<BlobStore> {
  const bucket = new Bucket(options);
  try {
    await bucket.removeOldProbes();
    await bucket.probe(new AbortController().signal);
  } catch (error) {
    bucket.close();
    throw error;
  }
  const { segmentBytes } = options;
  return new GhostbayBlobStore({
    bucket,
    budget: new ByteBudget(options.uploadMemoryBytesMax),
    segmentBytes,
  });
}

/**
 * GhostBay has no ranges, no copy and no part of an object: a blob is kept in segments, which stay where they are, and a
 * head that names them (`layout.ts`). So a commit sends the head only, with up to `TAIL_BYTES_MAX` bytes that it holds
 * itself; the same bytes are sent again when an upload goes on at an offset inside a segment or behind a tail. Nothing that a
 * request does depends on a listing. Durable is what GhostBay has answered 200 for: it syncs the file, not the directory.
 */
class GhostbayBlobStore implements BlobStore {
  readonly driver = 'ghostbay';
  readonly space = null;
  /** GhostBay checks no signature, so an address of it would open the whole bucket. */
  readonly presign = null;
  readonly upkeep = [];
  readonly #deps: WriterDeps;
  readonly #bucket: Bucket;

  constructor(deps: WriterDeps) {
    this.#deps = deps;
    this.#bucket = deps.bucket;
  }

  async append(
    uploadId: UploadId,
    offset: number,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    lost?: AbortSignal,
  ): Promise<number> {
    const ours = either(signal, lost);
    const slots = await Slots.read(this.#bucket, uploadId);
    const stagedBytes = slots.head === null ? 0 : sizeOf(slots.head);
    if (offset > stagedBytes) {
      throw new RangeError(`offset ${offset} is beyond the ${stagedBytes} bytes staged`);
    }
    const writer = await SegmentWriter.open(this.#deps, slots, { offset, signal: ours, lost });
    const source = new ClientReader(chunks, ours);
    try {
      for (let next = await source.next(); next !== null; next = await source.next()) {
        if (next === 'slow') await writer.giveWay();
        else await writer.take(next, ours);
      }
      return await writer.finish();
    } catch (error) {
      // What came before is kept if the store can; the caller hears what went wrong first.
      await writer.finish().catch(() => undefined);
      throw error;
    } finally {
      writer.close();
      source.close();
    }
  }

  async staged(uploadId: UploadId): Promise<StagedUpload | null> {
    const { head } = await Slots.read(this.#bucket, uploadId);
    return head === null ? null : { uploadId, sizeBytes: sizeOf(head), modifiedAt: head.modifiedAt };
  }

  async readStaged(uploadId: UploadId, signal: AbortSignal): Promise<BlobBody | null> {
    signal.throwIfAborted();
    const { head } = await Slots.read(this.#bucket, uploadId);
    return head === null ? null : new SegmentsBody(this.#bucket, uploadId, { head, range: null, signal });
  }

  async commit(uploadId: UploadId, _digest: Digest, sizeBytes: number): Promise<StoredBlob | null> {
    let slots = await Slots.read(this.#bucket, uploadId);
    if (slots.head === null || sizeOf(slots.head) < sizeBytes) return null;
    if (sizeOf(slots.head) > sizeBytes) {
      await this.append(uploadId, sizeBytes, nothing(), new AbortController().signal);
      slots = await Slots.read(this.#bucket, uploadId);
      if (slots.head === null) return null;
    }
    const committed = await this.#placeHead(slots, slots.head);
    // What cannot be removed now still counts as staged: the sweep finds it.
    await this.#removeStaged(slots, committed).catch(() => undefined);
    return described(uploadId, committed);
  }

  async discard(uploadId: UploadId): Promise<void> {
    const slots = await Slots.read(this.#bucket, uploadId);
    // Its slots may have outlived the commit.
    const blob = slots.head === null ? null : await lookAtBlobHead(this.#bucket, uploadId);
    // Nobody knows which of its segments are the blob's: they go with it.
    if (blob === 'unreadable') await slots.remove();
    else await this.#removeStaged(slots, blob);
  }

  async withdraw(uploadId: UploadId): Promise<void> {
    await this.delete(locationOf(uploadId));
    await this.discard(uploadId);
  }

  async open(location: BlobLocation, range: ByteRange | null, signal: AbortSignal): Promise<BlobBody | null> {
    signal.throwIfAborted();
    const uploadId = uploadOf(location);
    const head = await readBlobHead(this.#bucket, uploadId);
    return head === null ? null : new SegmentsBody(this.#bucket, uploadId, { head, range, signal });
  }

  async stat(location: BlobLocation): Promise<StoredBlob | null> {
    const uploadId = uploadOf(location);
    const head = await lookAtBlobHead(this.#bucket, uploadId);
    return head === null ? null : described(uploadId, head);
  }

  locate(uploadId: UploadId, _digest: Digest): BlobLocation {
    return locationOf(uploadId);
  }

  owns(location: BlobLocation): boolean {
    return isLocation(location);
  }

  /** The head goes last: a removal that was cut short can be repeated. */
  async delete(location: BlobLocation): Promise<void> {
    const uploadId = uploadOf(location);
    const head = await lookAtBlobHead(this.#bucket, uploadId);
    if (head === null) return;
    if (head === 'unreadable') await removeAllSegments(this.#bucket, uploadId);
    else await removeSegments(this.#bucket, uploadId, segmentNames(head));
    await this.#bucket.delete(blobKey(uploadId));
  }

  async list(cursor: string | null, limit: number): Promise<Page<StoredBlob>> {
    return await this.#page({ kind: 'blobs', after: cursor ?? '', limit }, async (uploadId) => {
      const head = await lookAtBlobHead(this.#bucket, uploadId);
      return head === null ? null : described(uploadId, head);
    });
  }

  async listStaged(cursor: string | null, limit: number): Promise<Page<StagedUpload>> {
    return await this.#page({ kind: 'uploads', after: cursor ?? '', limit }, async (uploadId) => {
      // Slots that cannot be read are nobody's bytes, but something to be swept.
      return (await this.staged(uploadId)) ?? { uploadId, sizeBytes: 0, modifiedAt: 0 };
    });
  }

  async probe(signal: AbortSignal): Promise<void> {
    await this.#bucket.probe(signal);
  }

  async close(): Promise<void> {
    this.#bucket.close();
  }

  /** What stood at this place before is from an earlier commit that the ledger never heard of, or a torn one. */
  async #placeHead(slots: Slots, staged: Head): Promise<Head> {
    const { uploadId } = slots;
    const before = await lookAtBlobHead(this.#bucket, uploadId);
    const isReadable = before !== null && before !== 'unreadable';
    if (isReadable && sameBytes(before, staged)) return before;
    const garbage = !isReadable ? [] : segmentNames(before).filter((name) => !isOf(name, staged));
    // Announced first: once the old head is gone nobody else knows of its segments.
    if (garbage.length > 0) await slots.write({ ...staged, garbage: [...staged.garbage, ...garbage] });
    const head = { ...staged, garbage: [], modifiedAt: Date.now() };
    await this.#bucket.put(blobKey(uploadId), [encodeHead(head)], { mayExist: before !== null });
    return head;
  }

  /** Drops the slots and their segments, but for those that belong to the blob. */
  async #removeStaged(slots: Slots, blob: Head | null): Promise<void> {
    const kept = new Set(blob === null ? [] : segmentNames(blob));
    const names = slots.heads.flatMap((head) => [...segmentNames(head), ...garbageOf(head)]);
    const dropped = [...new Set(names)].filter((name) => !kept.has(name));
    await removeSegments(this.#bucket, slots.uploadId, dropped);
    await slots.remove();
  }

  async #page<T>(
    wanted: { readonly kind: 'blobs' | 'uploads'; readonly after: string; readonly limit: number },
    describe: (uploadId: UploadId) => Promise<T | null>,
  ): Promise<Page<T>> {
    const { ids, hasMore } = await pageOfUploads(this.#bucket, wanted);
    const entries: T[] = [];
    for (const uploadId of ids) {
      const entry = await describe(uploadId);
      if (entry !== null) entries.push(entry);
    }
    return { entries, cursor: hasMore ? (ids.at(-1) ?? null) : null };
  }
}

/** What cannot be read has the size of no blob, so that it is found to be damaged, and replaced. */
function described(uploadId: UploadId, head: Head | 'unreadable'): StoredBlob {
  const isReadable = head !== 'unreadable';
  return {
    location: locationOf(uploadId),
    uploadId,
    sizeBytes: isReadable ? sizeOf(head) : SIZE_UNKNOWN,
    modifiedAt: isReadable ? head.modifiedAt : 0,
  };
}

function sameBytes(one: Head, other: Head): boolean {
  const names = (head: Head) => head.segments.map(({ number }) => segmentName(head.life, number)).join();
  return names(one) === names(other) && Buffer.compare(one.tail, other.tail) === 0;
}

function isOf(name: string, head: Head): boolean {
  return name.startsWith(`${head.life}-`);
}
