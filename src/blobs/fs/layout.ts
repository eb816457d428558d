import { type Digest, digestAlgorithm, digestHex } from '../../oci/digest.ts';
import type { BlobLocation, UploadId } from '../blob-store.ts';
import { notHere } from '../not-here.ts';
import { parseUploadId } from '../upload-id.ts';

/**
 * Where things lie below the root. Directories are 0700, files 0600, nothing is a symbolic link.
 *
 *     <root>/
 *       blobs/
 *         sha256/
 *           9f/
 *             9f86d081…      a committed blob, named by its whole hex
 *         sha512/
 *           …
 *       uploads/
 *         4c/
 *           4c1ad0…          staged bytes of one upload, named by the upload id
 *       .probe-<random>      lives for the moment of one probe
 *
 * A location is the path of a blob below `blobs/`: `sha256/9f/9f86d081…`.
 */
export const BLOBS = 'blobs';
export const UPLOADS = 'uploads';
export const ALGORITHMS = ['sha256', 'sha512'] as const;
export const PROBE = /^\.probe-[0-9a-f]{32}$/;
export const FAN_OUT = /^[0-9a-f]{2}$/;

const LOCATION = /^(?:sha256\/([0-9a-f]{2})\/\1[0-9a-f]{62}|sha512\/([0-9a-f]{2})\/\2[0-9a-f]{126})$/;

/** A directory and a name in it, both below the root. */
export interface Place {
  readonly directory: string;
  readonly name: string;
}

export function locationOf(digest: Digest): BlobLocation {
  const hex = digestHex(digest);
  return `${digestAlgorithm(digest)}/${hex.slice(0, 2)}/${hex}` as BlobLocation;
}

export function parseLocation(text: string): BlobLocation | null {
  return LOCATION.test(text) ? (text as BlobLocation) : null;
}

/** Throws `Unavailable` for what this store never wrote, so that no text leads out of the root. */
export function blobPlace(location: BlobLocation): Place {
  if (parseLocation(location) === null) throw notHere();
  const slash = location.lastIndexOf('/');
  return { directory: `${BLOBS}/${location.slice(0, slash)}`, name: location.slice(slash + 1) };
}

/** Throws `RangeError` for anything else than an upload id. */
export function uploadPlace(uploadId: UploadId): Place {
  if (parseUploadId(uploadId) === null) throw new RangeError('not an upload id');
  return { directory: `${UPLOADS}/${uploadId.slice(0, 2)}`, name: uploadId };
}
