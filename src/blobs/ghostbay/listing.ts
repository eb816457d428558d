import type { UploadId } from '../blob-store.ts';
import { type Bucket, LISTED_KEYS_MAX } from './bucket.ts';
import { unavailable } from './failures.ts';
import { type HeadKind, headPrefix, uploadInKey } from './layout.ts';

const DIGITS = '0123456789abcdef';
const UPLOAD_ID_CHARACTERS = 32;

/**
 * Upload ids of all heads of a kind, in order, after the given one. GhostBay tells at most the first 1000 keys of a prefix
 * and cannot go on behind them; but keys begin with random hex digits, so a prefix that has more than it tells is asked
 * for again with one digit more. Throws `Unavailable` instead of leaving out keys.
 */
async function* uploadsWithHead(
  bucket: Pick<Bucket, 'list'>,
  wanted: { readonly kind: HeadKind; readonly after: string },
  digits = '',
): AsyncGenerator<UploadId, void, void> {
  const { kind } = wanted;
  // `g` stands behind every hex digit: nothing that begins so comes after the cursor.
  if (`${digits}g` <= wanted.after.slice(0, digits.length + 1)) return;
  const keys = await bucket.list(headPrefix(kind, digits));
  let last = wanted.after;
  for (const key of keys) {
    const uploadId = uploadInKey(kind, key);
    if (uploadId === null || uploadId <= last) continue;
    yield uploadId;
    last = uploadId;
  }
  if (keys.length < LISTED_KEYS_MAX) return;
  if (digits.length === UPLOAD_ID_CHARACTERS) throw unavailable('GhostBay lists too many keys of one upload');
  for (const digit of DIGITS) {
    yield* uploadsWithHead(bucket, { kind, after: last }, `${digits}${digit}`);
  }
}

/** At most `limit` of them, and whether there are more. */
export async function pageOfUploads(
  bucket: Pick<Bucket, 'list'>,
  wanted: { readonly kind: HeadKind; readonly after: string; readonly limit: number },
): Promise<{ readonly ids: readonly UploadId[]; readonly hasMore: boolean }> {
  const ids: UploadId[] = [];
  for await (const uploadId of uploadsWithHead(bucket, wanted)) {
    if (ids.length === wanted.limit) return { ids, hasMore: true };
    ids.push(uploadId);
  }
  return { ids, hasMore: false };
}
