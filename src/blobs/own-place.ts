import { digestOf } from '../oci/digest.ts';
import type { BlobLocation, BlobStore, UploadId } from './blob-store.ts';

const ONE = digestOf('sha256', Buffer.from('one'));
const OTHER = digestOf('sha256', Buffer.from('other'));

/** Where the upload's bytes stand whatever their digest is; null where the place follows from the digest. */
export function ownPlace(store: Pick<BlobStore, 'locate'>, uploadId: UploadId): BlobLocation | null {
  const place = store.locate(uploadId, ONE);
  return place === store.locate(uploadId, OTHER) ? place : null;
}
