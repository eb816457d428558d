import type { Digest } from '../oci/digest.ts';
import type { ByteRange } from '../oci/range.ts';

export type { ByteRange } from '../oci/range.ts';

/** A blob store keeps bytes by content. It knows nothing of repositories, rights or tags: the meta store does. */

/** Names the staged bytes of one upload: 32 lower-case hex characters, made by `newUploadId()`. */
export type UploadId = string & { readonly __brand: 'UploadId' };

/** Where a store keeps a committed blob, as the store itself wrote it. Opaque to everyone else; kept in the blob's row. */
export type BlobLocation = string & { readonly __brand: 'BlobLocation' };

export interface BlobBody {
  /** Size of the whole blob in bytes, whatever the range. */
  readonly sizeBytes: number;
  /** The bytes asked for, in pieces of the store's choosing. May be iterated once. Ends early only by throwing. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** The same bytes in memory, where they are at hand: there is nothing to wait for then. */
  readonly bytes?: Uint8Array;
  /** Gives back a chunk that nobody reads any more, so that the store can fill it again. Nobody has to. */
  readonly recycle?: (chunk: Uint8Array) => void;
  /** Frees what the body holds. Safe to call twice, before, during and after iteration. */
  close(): Promise<void>;
}

/** Of stored bytes that cannot be told how many they are: what describes them is damaged. */
export const SIZE_UNKNOWN = -1;

export interface StoredBlob {
  readonly location: BlobLocation;
  /** The upload at whose own place the bytes stand; `null` where the place of a blob follows from its digest. */
  readonly uploadId: UploadId | null;
  readonly sizeBytes: number;
  /** Milliseconds since the epoch at which the store last wrote it. */
  readonly modifiedAt: number;
}

export interface StagedUpload {
  readonly uploadId: UploadId;
  readonly sizeBytes: number;
  readonly modifiedAt: number;
}

export interface Page<T> {
  readonly entries: readonly T[];
  /** Pass to the next call; `null` when the listing is complete. */
  readonly cursor: string | null;
}

export interface FreeSpace {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Work that a store leaves for later. One process of each machine does it, again and again. */
export interface Upkeep {
  /** A name for logs, of words with hyphens. */
  readonly name: string;
  readonly intervalSeconds: number;
  /** Whether it is done once more while the program ends, for as long as that may take. */
  readonly atEnd: boolean;
  /** What it did, in numbers; null when there was nothing to do. Ends soon after the signal aborts. */
  run(signal: AbortSignal): Promise<Readonly<Record<string, number>> | null>;
}

/** Addresses at which a client may fetch a blob itself for a short time. */
export interface Presign {
  /** Where they lead, as clients see it: `https://s3.example.com`. */
  readonly origin: string;
  /** Whether somebody has said that clients reach it; else it is only where the registry finds the store. */
  readonly isForClients: boolean;
  /** Says nothing of whether the blob is there. Ranges work. */
  address(request: {
    readonly location: BlobLocation;
    readonly expiresSeconds: number;
    readonly mediaType: string;
  }): Promise<string>;
}

/**
 * The contract. Every method may be called from several processes at once. Failures of the device, the network or the
 * service throw `Unavailable`, bytes that are known to be damaged `DamagedBlob`; a missing thing is `null` (or no effect,
 * for `discard` and `delete`).
 */
export interface BlobStore {
  /** For logs and metrics: `fs`, `memory`, `s3`, `tiered`. */
  readonly driver: string;

  /**
   * Writes `chunks` so that they stand at `offset`, dropping whatever was staged beyond it; at 0 it begins an upload that the
   * store does not know. The caller must be the only writer of this upload (the upload's lease in the meta store sees to
   * it). `offset` beyond the staged size throws `RangeError`: there are never gaps. Resolves with the new staged size in
   * bytes. A chunk is its source's again, and may be filled anew, when the next one is asked for.
   *
   * When `chunks` throws or the signal aborts, `append` rejects with that error after what was received before has been
   * written as far as possible: ask `staged()` where the upload stands. Bytes are not yet durable.
   *
   * `lost` aborts when another request may be the writer. From then on no write is begun, what is under way is given up, and
   * `append` rejects with the reason: what it wrote to could be a blob by now.
   */
  append(
    uploadId: UploadId,
    offset: number,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    lost?: AbortSignal,
  ): Promise<number>;

  /** How many bytes are staged; `null` when the upload is unknown to the store. */
  staged(uploadId: UploadId): Promise<StagedUpload | null>;

  /** The staged bytes from the beginning, to hash them again. `null` when unknown. */
  readStaged(uploadId: UploadId, signal: AbortSignal): Promise<BlobBody | null>;

  /**
   * Makes the first `sizeBytes` staged bytes the blob `digest`, at the place that `locate` names, and drops those beyond.
   * Copies no bytes. When it resolves the bytes survive power loss. The caller has verified that the bytes have this digest.
   * A blob already there is replaced by the same bytes (which heals a torn one); readers of the old one are not disturbed.
   * Unknown upload, or fewer bytes than that: `null`. Staged bytes that may have been lost on the way to the device are
   * staged no more: they have to be sent again. What was committed is staged no more, or still as the same bytes (where
   * they have not moved): then a commit may be repeated.
   */
  commit(uploadId: UploadId, digest: Digest, sizeBytes: number): Promise<StoredBlob | null>;

  /**
   * Drops the staged bytes. Never touches a blob, nor bytes that stand at the upload's own place and may be one already:
   * those are taken away by `withdraw`. Unknown upload: no effect.
   */
  discard(uploadId: UploadId): Promise<void>;

  /**
   * For an upload that has ended without becoming a blob of the ledger: drops its staged bytes, and what a commit of it put
   * at a place that is the upload's own. Whoever asks for it knows that the upload's row was taken away as that of one that
   * becomes no blob. May be repeated. Unknown upload: no effect.
   */
  withdraw(uploadId: UploadId): Promise<void>;

  /**
   * Opens a blob for reading, whole when `range` is null. `null` when there is none. Aborting the signal ends the body.
   *
   * Who says what the `digest` of the bytes is serves them: a store with copies of what it keeps may answer with one, and
   * checks by the digest what it copies. Who does not say it asks what the store itself keeps: no copy answers for that.
   */
  open(
    location: BlobLocation,
    range: ByteRange | null,
    signal: AbortSignal,
    digest?: Digest,
  ): Promise<BlobBody | null>;

  stat(location: BlobLocation): Promise<StoredBlob | null>;

  /**
   * Where `commit` would put this upload as this digest: known before there are bytes, so that whoever finds the row that
   * announced them finds them too. Stores that rename have one place for a digest; those whose bytes never move have one
   * for each upload.
   */
  locate(uploadId: UploadId, digest: Digest): BlobLocation;

  /** Whether a location has the form of those that this store gives: by it two stores of different kinds are told apart. */
  owns(location: BlobLocation): boolean;

  /** While blobs move to another store: whether these bytes are still where they are to go from. */
  leaves?(location: BlobLocation): boolean;

  /** Removes a blob. Absent: no effect. Durable when it resolves. */
  delete(location: BlobLocation): Promise<void>;

  /**
   * All blobs in the store's own order, at most `limit` a page, and what is staged at an upload's own place: nothing there
   * tells them apart. For reconciliation only: no request may depend on it.
   */
  list(cursor: string | null, limit: number): Promise<Page<StoredBlob>>;

  /** All staged uploads that `list` does not name, likewise. */
  listStaged(cursor: string | null, limit: number): Promise<Page<StagedUpload>>;

  /** Proves that the store can be written to right now; throws `Unavailable` with a sentence otherwise. */
  probe(signal: AbortSignal): Promise<void>;

  /** Capability: room on the device; `null` where the question makes no sense. */
  readonly space: (() => Promise<FreeSpace>) | null;
  /** Capability: direct download addresses. */
  readonly presign: Presign | null;
  /** Capability: what is to be done again and again; nothing where it is empty. */
  readonly upkeep: readonly Upkeep[];

  close(): Promise<void>;
}
