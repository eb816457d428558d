import type { BlobLocation, UploadId } from '../blob-store.ts';
import { notHere } from '../not-here.ts';
import { parseUploadId } from '../upload-id.ts';

/**
 * Where things lie in the bucket. Nothing is ever renamed: a blob stands at the key of the upload that brought it.
 *
 *     <prefix>blobs/4c/4c1ad0…    bytes of one upload: whole and readable, or a multipart upload at this key
 *     <prefix>staged/4c1ad0…      what a multipart upload consists of so far, with the bytes that make no part yet
 *     <prefix>probe/<random>      lives for the moment of one probe
 *
 * A location is `s3:4c/4c1ad0…`: bucket and prefix are configuration, so that a bucket may be copied to another.
 */
const BLOBS = 'blobs/';
const STAGED = 'staged/';
const LOCATION = /^s3:([0-9a-f]{2})\/(\1[0-9a-f]{30})$/;

export class Layout {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  get blobs(): string {
    return `${this.#prefix}${BLOBS}`;
  }

  get staged(): string {
    return `${this.#prefix}${STAGED}`;
  }

  probe(name: string): string {
    return `${this.#prefix}probe/${name}`;
  }

  /** Throws `RangeError` for anything else than an upload id. */
  blobKey(uploadId: UploadId): string {
    return `${this.blobs}${checked(uploadId).slice(0, 2)}/${uploadId}`;
  }

  stateKey(uploadId: UploadId): string {
    return `${this.staged}${checked(uploadId)}`;
  }

  /** The upload at whose key a blob stands; `null` for keys that this store did not write. */
  uploadOfBlob(key: string): UploadId | null {
    return uploadOf(`s3:${key.slice(this.blobs.length)}`);
  }

  uploadOfState(key: string): UploadId | null {
    return parseUploadId(key.slice(this.staged.length));
  }
}

export function locationOf(uploadId: UploadId): BlobLocation {
  return `s3:${checked(uploadId).slice(0, 2)}/${uploadId}` as BlobLocation;
}

/** Throws `Unavailable` for what this store never wrote. */
export function uploadAt(location: BlobLocation): UploadId {
  const uploadId = uploadOf(location);
  if (uploadId === null) throw notHere();
  return uploadId;
}

export function uploadOf(location: string): UploadId | null {
  return parseUploadId(LOCATION.exec(location)?.[2] ?? '');
}

function checked(uploadId: UploadId): UploadId {
  if (parseUploadId(uploadId) === null) throw new RangeError('not an upload id');
  return uploadId;
}
