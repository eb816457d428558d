import type { BlobStore } from '../blobs/blob-store.ts';
import type { Upload } from '../meta/meta-store.ts';
import type { Digest } from '../oci/digest.ts';
import { RunningDigest } from './running-digests.ts';

/**
 * A closing PUT whose bytes were placed, but whose last step failed (the ledger was full or away), comes again: the bytes
 * are a blob's by now and staged no more. Stages them again from there, checked on the way, so that they are committed by
 * the same steps as any others. Only what this very upload has brought, as its row says: knowing a digest is no right to
 * the bytes that it names. For an upload that is being closed as this digest.
 */
export async function restagePlaced(
  deps: { readonly blobs: BlobStore },
  upload: Upload,
  request: { readonly digest: Digest; readonly signal: AbortSignal; readonly lost: AbortSignal },
): Promise<boolean> {
  const { blobs } = deps;
  const { digest, signal, lost } = request;
  if ((await blobs.staged(upload.id)) !== null) return false;
  const body = await blobs.open(blobs.locate(upload.id, digest), null, signal);
  if (body === null) return false;
  const running = new RunningDigest(upload.algorithm);
  try {
    if (body.sizeBytes !== upload.offsetBytes) return false;
    await blobs.append(upload.id, 0, hashed(body.chunks, running), signal, lost);
  } finally {
    await body.close();
  }
  if (running.digest() === digest) return true;
  await blobs.discard(upload.id);
  return false;
}

async function* hashed(
  chunks: AsyncIterable<Uint8Array>,
  running: RunningDigest,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of chunks) {
    running.update(chunk);
    yield chunk;
  }
}
