import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { FileBody } from './file-body.ts';

const SIZE_BYTES = 3 * 512 * 1024 + 5;

it('FileBody, whose chunks come back twice, fills each of them for one reader only', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'drift-file-body-'));
  try {
    const bytes = randomBytes(SIZE_BYTES);
    const file = join(directory, 'blob');
    await writeFile(file, bytes);
    const { signal } = new AbortController();
    const read = async () =>
      new FileBody(await open(file, 'r'), { sizeBytes: SIZE_BYTES, range: null, signal });
    const first = await read();
    const seen: Buffer[] = [];
    for await (const chunk of first.chunks) {
      seen.push(Buffer.from(chunk));
      first.recycle(chunk);
      first.recycle(chunk);
    }
    assert.deepEqual(Buffer.concat(seen), bytes);
    // Held, not given back: two bodies at once, in step, share no buffer.
    const held: [Uint8Array[], Uint8Array[]] = [[], []];
    const both = [await read(), await read()] as const;
    const iterators = both.map((body) => body.chunks[Symbol.asyncIterator]());
    for (let step = 0; step < 4; step += 1) {
      for (const [index, iterator] of iterators.entries()) {
        const { value } = await iterator.next();
        held[index]?.push(value as Uint8Array);
      }
    }
    for (const body of both) await body.close();
    for (const chunks of held) assert.deepEqual(Buffer.concat(chunks), bytes);
    assert.equal(new Set(held.flat().map(({ buffer }) => buffer)).size, 8);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
