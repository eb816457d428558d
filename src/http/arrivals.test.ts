import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Arrivals } from './arrivals.ts';

const KIBIBYTE = 1024;

/** A copy, as the chunks of node:http are: alone in their memory. */
function chunksOf(bytes: Uint8Array, chunkBytes: number): Uint8Array[] {
  const chunks = [];
  for (let start = 0; start < bytes.byteLength; start += chunkBytes) {
    chunks.push(Uint8Array.from(bytes.subarray(start, start + chunkBytes)));
  }
  return chunks;
}

/** Everything that is left, as a reader gets it that copies each piece before it takes the next one. */
function takeAll(arrivals: Arrivals): Buffer {
  const pieces = [];
  for (let piece = arrivals.take(true); piece !== null; piece = arrivals.take(true))
    pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

test('Arrivals, chunks of any size and a reader that is as fast, gives the same bytes in few pieces', () => {
  const bytes = randomBytes(1500 * KIBIBYTE + 7);
  for (const length of [bytes.byteLength, null]) {
    for (const chunkBytes of [1000, 64 * KIBIBYTE, 700 * KIBIBYTE]) {
      const arrivals = new Arrivals(length);
      const pieces: Buffer[] = [];
      for (const chunk of chunksOf(bytes, chunkBytes)) {
        arrivals.push(chunk);
        for (let piece = arrivals.take(false); piece !== null; piece = arrivals.take(false)) {
          pieces.push(Buffer.from(piece));
        }
        assert.equal(arrivals.isFull, false);
      }
      assert.ok(pieces.length < 8, `${pieces.length} pieces`);
      assert.ok(Buffer.concat([...pieces, takeAll(arrivals)]).equals(bytes), `chunks of ${chunkBytes}`);
    }
  }
});

test('Arrivals, a reader that does not come, is full after a few pieces and loses nothing', () => {
  const bytes = randomBytes(4096 * KIBIBYTE);
  const arrivals = new Arrivals(null);
  const chunks = chunksOf(bytes, 64 * KIBIBYTE);
  let pushed = 0;
  while (!arrivals.isFull) arrivals.push(chunks[pushed++] ?? assert.fail('never full'));
  assert.ok(pushed * 64 < 1100, `${pushed} chunks`);
  for (const chunk of chunks.slice(pushed)) arrivals.push(chunk);
  assert.ok(takeAll(arrivals).equals(bytes));
});

test('Arrivals, a piece that is read, stays as it is until the next one is taken', () => {
  const first = Buffer.alloc(256 * KIBIBYTE, 'a');
  const arrivals = new Arrivals(null);
  arrivals.push(Uint8Array.from(first));
  const piece = arrivals.take(false);
  while (!arrivals.isFull) arrivals.push(new Uint8Array(64 * KIBIBYTE));
  assert.ok(first.equals(piece ?? assert.fail('no piece')));
  arrivals.drop();
});

test('Arrivals, more bodies than there are slabs for, hand chunks on as they come', () => {
  const bodies = Array.from({ length: 400 }, () => new Arrivals(null));
  const bytes = randomBytes(64 * KIBIBYTE);
  for (const body of bodies) body.push(Uint8Array.from(bytes));
  const handedOn = bodies.filter((body) => body.hasPiece);
  assert.equal(handedOn.length, 400 - 256);
  for (const body of handedOn) {
    for (let count = 0; count < 3; count += 1) body.push(Uint8Array.from(bytes));
    assert.equal(body.isFull, true);
  }
  for (const body of bodies) assert.ok(bytes.equals(takeAll(body).subarray(0, bytes.byteLength)));
  const after = new Arrivals(null);
  after.push(Uint8Array.from(bytes));
  assert.equal(after.hasPiece, false, 'the slabs were given back');
  after.drop();
});

test('Arrivals, a chunk that shares its memory with others, leaves that as it is', () => {
  const shared = Buffer.alloc(64 * KIBIBYTE, 'x');
  const arrivals = new Arrivals(null);
  arrivals.push(new Uint8Array(shared.buffer, 0, 32 * KIBIBYTE));
  arrivals.drop();
  assert.equal(shared.byteLength, 64 * KIBIBYTE);
  const alone = new Uint8Array(32 * KIBIBYTE);
  new Arrivals(null).push(alone);
  assert.equal(alone.byteLength, 0, 'what node:http allocated is free again');
});
