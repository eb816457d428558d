import assert from 'node:assert/strict';
import { type Digest, digestOf } from '../oci/digest.ts';
import type { BlobBody, BlobLocation, BlobStore, Page, UploadId } from './blob-store.ts';
import { newUploadId } from './upload-id.ts';

/** Whole numbers below a bound, the same for the same seed (mulberry32): a failure can be had again. */
export function randomNumbers(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

export async function* chunksOf(pieces: Iterable<string | Uint8Array>): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield typeof piece === 'string' ? Buffer.from(piece) : piece;
}

export async function* endingIn(
  pieces: Iterable<string>,
  end: () => Promise<never>,
): AsyncGenerator<Uint8Array> {
  yield* chunksOf(pieces);
  await end();
}

export function* sliced(bytes: Buffer, size: number): Generator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += size) yield bytes.subarray(start, start + size);
}

export async function stageBytes(
  store: BlobStore,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<UploadId> {
  const id = newUploadId();
  await store.append(id, 0, chunksOf([bytes]), signal);
  return id;
}

export async function put(
  store: BlobStore,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<{ location: BlobLocation; digest: Digest }> {
  const digest = digestOf('sha256', bytes);
  const blob = await store.commit(await stageBytes(store, bytes, signal), digest, bytes.byteLength);
  assert.ok(blob !== null);
  return { location: blob.location, digest };
}

export async function drain(body: BlobBody): Promise<Buffer> {
  const chunks = [];
  for await (const chunk of body.chunks) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export async function blobBytes(
  store: BlobStore,
  location: BlobLocation,
  signal: AbortSignal,
): Promise<Buffer> {
  const body = await store.open(location, null, signal);
  assert.ok(body !== null);
  return await drain(body);
}

export async function stagedBytes(store: BlobStore, id: UploadId, signal: AbortSignal): Promise<Buffer> {
  const body = await store.readStaged(id, signal);
  assert.ok(body !== null);
  return await drain(body);
}

export async function allPages<T>(
  next: (cursor: string | null) => Promise<Page<T>>,
): Promise<(readonly T[])[]> {
  const pages = [];
  let cursor: string | null = null;
  do {
    const page: Page<T> = await next(cursor);
    pages.push(page.entries);
    cursor = page.cursor;
  } while (cursor !== null);
  return pages;
}
