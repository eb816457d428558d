import type { Digest } from '../oci/digest.ts';
import type {
  BlobBody,
  BlobLocation,
  BlobStore,
  ByteRange,
  FreeSpace,
  Page,
  StagedUpload,
  StoredBlob,
  Upkeep,
  UploadId,
} from './blob-store.ts';
import { listBoth } from './list-both.ts';

/**
 * While blobs move from one store to another: what is pushed goes to the target, and what is there is read where its location
 * says. Both are closed with it.
 */
export class MovingBlobStore implements BlobStore {
  readonly driver: string;
  /** A capability of one of the two is none of both. */
  readonly presign = null;
  readonly space: (() => Promise<FreeSpace>) | null;
  readonly upkeep: readonly Upkeep[];
  readonly #source: BlobStore;
  readonly #target: BlobStore;

  constructor(source: BlobStore, target: BlobStore) {
    this.#source = source;
    this.#target = target;
    this.driver = target.driver;
    this.space = target.space;
    this.upkeep = [...target.upkeep, ...source.upkeep];
  }

  append(
    uploadId: UploadId,
    offset: number,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    lost?: AbortSignal,
  ): Promise<number> {
    return this.#target.append(uploadId, offset, chunks, signal, lost);
  }

  /** An upload that was staged in the source has to be sent again: it is as if it had not begun. */
  staged(uploadId: UploadId): Promise<StagedUpload | null> {
    return this.#target.staged(uploadId);
  }

  readStaged(uploadId: UploadId, signal: AbortSignal): Promise<BlobBody | null> {
    return this.#target.readStaged(uploadId, signal);
  }

  commit(uploadId: UploadId, digest: Digest, sizeBytes: number): Promise<StoredBlob | null> {
    return this.#target.commit(uploadId, digest, sizeBytes);
  }

  async discard(uploadId: UploadId): Promise<void> {
    await this.#target.discard(uploadId);
    await this.#source.discard(uploadId);
  }

  async withdraw(uploadId: UploadId): Promise<void> {
    await this.#target.withdraw(uploadId);
    await this.#source.withdraw(uploadId);
  }

  open(
    location: BlobLocation,
    range: ByteRange | null,
    signal: AbortSignal,
    digest?: Digest,
  ): Promise<BlobBody | null> {
    return this.#at(location).open(location, range, signal, digest);
  }

  stat(location: BlobLocation): Promise<StoredBlob | null> {
    return this.#at(location).stat(location);
  }

  locate(uploadId: UploadId, digest: Digest): BlobLocation {
    return this.#target.locate(uploadId, digest);
  }

  owns(location: BlobLocation): boolean {
    return this.#target.owns(location) || this.#source.owns(location);
  }

  leaves(location: BlobLocation): boolean {
    return this.#at(location) === this.#source;
  }

  delete(location: BlobLocation): Promise<void> {
    return this.#at(location).delete(location);
  }

  list(cursor: string | null, limit: number): Promise<Page<StoredBlob>> {
    return listBoth(
      { cursor, limit },
      {
        first: (at, most) => this.#target.list(at, most),
        second: (at, most) => this.#source.list(at, most),
      },
    );
  }

  listStaged(cursor: string | null, limit: number): Promise<Page<StagedUpload>> {
    return listBoth(
      { cursor, limit },
      {
        first: (at, most) => this.#target.listStaged(at, most),
        second: (at, most) => this.#source.listStaged(at, most),
      },
    );
  }

  probe(signal: AbortSignal): Promise<void> {
    return this.#target.probe(signal);
  }

  async close(): Promise<void> {
    await this.#target.close();
    await this.#source.close();
  }

  #at(location: BlobLocation): BlobStore {
    return this.#source.owns(location) && !this.#target.owns(location) ? this.#source : this.#target;
  }
}
