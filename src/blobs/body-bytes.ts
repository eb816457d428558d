import type { BlobBody } from './blob-store.ts';

/** The first `sizeBytes` bytes of what the chunks hold. */
export async function* firstBytes(
  chunks: AsyncIterable<Uint8Array>,
  sizeBytes: number,
): AsyncGenerator<Uint8Array, void, void> {
  let left = sizeBytes;
  for await (const chunk of chunks) {
    if (left > 0) yield chunk.subarray(0, left);
    left -= Math.min(left, chunk.byteLength);
  }
}

export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

export async function* nothing(): AsyncGenerator<Uint8Array, void, void> {}

/** All that the body gives, in memory. Closes it. */
export async function readWhole(body: Pick<BlobBody, 'chunks' | 'close'>): Promise<Buffer> {
  try {
    const chunks: Uint8Array[] = [];
    for await (const chunk of body.chunks) chunks.push(chunk);
    return Buffer.concat(chunks);
  } finally {
    await body.close();
  }
}
