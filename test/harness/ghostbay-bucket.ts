import type { UploadId } from '../../src/blobs/blob-store.ts';
import type { GhostbayOptions } from '../../src/blobs/ghostbay/ghostbay-blob-store.ts';
import { decodeHead, segmentNames } from '../../src/blobs/ghostbay/head.ts';
import { segmentKey } from '../../src/blobs/ghostbay/layout.ts';
import type { GhostbayDouble } from './ghostbay.ts';

export const GHOSTBAY_BUCKET = 'drift-registry';
const MIB = 1024 * 1024;

/** Makes the bucket; the options of a store in it, of small segments. */
export async function bucketOn(double: GhostbayDouble): Promise<GhostbayOptions> {
  await fetch(`${double.endpoint}/${GHOSTBAY_BUCKET}`, { method: 'PUT' });
  return {
    endpoint: double.endpoint,
    bucket: GHOSTBAY_BUCKET,
    credentials: { accessKey: 'AKIA0000000000000000', secretKey: 'secret' },
    segmentBytes: MIB,
    uploadMemoryBytesMax: 64 * MIB,
  };
}

/** Keys of whatever is neither the head of a blob nor one of its segments. */
export async function strayKeys(double: GhostbayDouble): Promise<string[]> {
  const keys = double.keys(GHOSTBAY_BUCKET);
  const heads = keys.filter((key) => key.startsWith('blobs/'));
  const known = heads.flatMap((key) => {
    const head = decodeHead(key, double.object(GHOSTBAY_BUCKET, key) ?? Buffer.alloc(0));
    const uploadId = key.slice('blobs/4c/'.length) as UploadId;
    return [key, ...segmentNames(head).map((name) => segmentKey(uploadId, name))];
  });
  return keys.filter((key) => !known.includes(key));
}
