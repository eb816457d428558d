import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { randomNumbers } from '../contract-bytes.ts';
import { type Filling, UploadMemory } from './upload-memory.ts';

const BLOCK = 256 * 1024;
const PART_BLOCKS = 20;
const options = { bytesMax: 2 * PART_BLOCKS * BLOCK, partBytes: PART_BLOCKS * BLOCK };

/** Each has one block, and no more may be given: none of them could be filled to its end. */
async function crowded(memory: UploadMemory): Promise<readonly Filling[]> {
  const fillings = Array.from({ length: PART_BLOCKS + 1 }, () => memory.filling());
  for (const filling of fillings) await filling.write(Buffer.of(1));
  return fillings;
}

describe('UploadMemory', () => {
  it('a part that is not of whole blocks, is refused', () => {
    assert.throws(() => new UploadMemory({ ...options, partBytes: options.partBytes + 1 }), RangeError);
    assert.throws(() => new UploadMemory({ ...options, bytesMax: options.partBytes }), RangeError);
  });

  it('reserve, enough for work that ends by itself, is not held up by parts that may grow', async () => {
    const memory = new UploadMemory(options);
    const fillings = await crowded(memory);
    const tail = memory.filling();
    await tail.reserve(7, { isEnough: true });
    await tail.reserve((PART_BLOCKS - 1) * BLOCK, { isEnough: true });
    assert.equal(memory.heldBytes, options.bytesMax);
    for (const filling of [...fillings, tail]) filling.clear();
    assert.equal(memory.heldBytes, 0);
  });

  it('reserve, aborted while it waits, rejects, and takes nothing when there is some', async () => {
    const memory = new UploadMemory(options);
    const fillings = await crowded(memory);
    const abort = new AbortController();
    const gone = memory.filling(abort.signal);
    const reserved = gone.reserve(1);
    assert.ok(memory.isWanted);
    abort.abort(new Error('the client is gone'));
    await assert.rejects(reserved, /the client is gone/);
    assert.ok(!memory.isWanted);
    for (const filling of fillings) filling.clear();
    assert.equal(memory.heldBytes, 0);
  });

  it('many that fill parts, and that need a little and end, all come to their end', async () => {
    const memory = new UploadMemory(options);
    const below = randomNumbers(7);
    const chunk = Buffer.alloc(BLOCK / 2 + 1);
    await Promise.all(
      Array.from({ length: 60 }, async (_, index) => {
        const filling = memory.filling();
        for (let part = 0; part < 3; part++) {
          if (index % 3 === 0) await filling.reserve(1 + below(options.partBytes), { isEnough: true });
          else {
            const bytes = 1 + below(options.partBytes - chunk.byteLength);
            while (filling.sizeBytes < bytes) {
              await filling.write(chunk);
              await new Promise(setImmediate);
            }
          }
          const { giveBack } = filling.handOver();
          await new Promise(setImmediate);
          giveBack();
        }
      }),
    );
    assert.equal(memory.heldBytes, 0);
    assert.ok(memory.peakBytes <= options.bytesMax);
  });
});
