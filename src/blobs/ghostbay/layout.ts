import type { BlobLocation, UploadId } from '../blob-store.ts';
import { notHere } from '../not-here.ts';
import { parseUploadId } from '../upload-id.ts';

/**
 * What stands in the bucket. No key is the directory of another one (keys become file paths in GhostBay), none is written
 * over, none has a character that means something to SQL's LIKE.
 *
 *     blobs/4c/4c1ad0…                     head of a committed blob, named by the upload that brought it
 *     uploads/4c/4c1ad0…-a, …-b            head of an open upload, in two slots that are written in turn
 *     segments/4c/4c1ad0…-<life>-<number>  bytes of either; they stay where they are when the upload becomes the blob
 *     probes/<milliseconds>-<random>       lives for the moment of one probe
 *
 * `life` is 8 random hex digits, made when an upload begins at byte 0 without a head: what is staged under the id of a blob
 * that stands already never meets that blob's segments. A location is `ghostbay:4c/4c1ad0…`.
 */
export type HeadKind = 'blobs' | 'uploads';
export type Slot = 'a' | 'b';

export const PROBES = 'probes/';

const LOCATION = /^ghostbay:([0-9a-f]{2})\/(\1[0-9a-f]{30})$/;
const UPLOAD_ID_CHARACTERS = 32;

export function locationOf(uploadId: UploadId): BlobLocation {
  return `ghostbay:${fannedOut(uploadId)}` as BlobLocation;
}

export function isLocation(location: BlobLocation): boolean {
  return LOCATION.test(location);
}

/** Throws `Unavailable` for what this store never wrote. */
export function uploadOf(location: BlobLocation): UploadId {
  const uploadId = LOCATION.exec(location)?.[2];
  if (uploadId === undefined) throw notHere();
  return uploadId as UploadId;
}

export function blobKey(uploadId: UploadId): string {
  return `blobs/${fannedOut(uploadId)}`;
}

export function slotKey(uploadId: UploadId, slot: Slot): string {
  return `uploads/${fannedOut(uploadId)}-${slot}`;
}

/** `name` is `<life>-<number>`. */
export function segmentKey(uploadId: UploadId, name: string): string {
  return `segments/${fannedOut(uploadId)}-${name}`;
}

/** Begins the keys of all heads whose upload id begins with these hex digits. */
export function headPrefix(kind: HeadKind, digits: string): string {
  return digits.length <= 2 ? `${kind}/${digits}` : `${kind}/${digits.slice(0, 2)}/${digits}`;
}

/** The upload id in a key of this kind; null for anything else. */
export function uploadInKey(kind: HeadKind, key: string): UploadId | null {
  const start = kind.length + '/4c/'.length;
  const uploadId = parseUploadId(key.slice(start, start + UPLOAD_ID_CHARACTERS));
  if (uploadId === null) return null;
  const keys = kind === 'blobs' ? [blobKey(uploadId)] : [slotKey(uploadId, 'a'), slotKey(uploadId, 'b')];
  return keys.includes(key) ? uploadId : null;
}

/** Throws `RangeError` for anything else than an upload id. */
function fannedOut(uploadId: UploadId): string {
  if (parseUploadId(uploadId) === null) throw new RangeError('not an upload id');
  return `${uploadId.slice(0, 2)}/${uploadId}`;
}
