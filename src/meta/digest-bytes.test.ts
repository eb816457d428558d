import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../oci/digest.ts';
import { digestFromBytes, digestToBytes } from './digest-bytes.ts';

test('digestToBytes, both algorithms, come back as they were', () => {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const digest = digestOf(algorithm, Buffer.from('x'));
    assert.equal(digestFromBytes(digestToBytes(digest)), digest);
  }
  assert.equal(digestToBytes(digestOf('sha256', Buffer.from('x'))).byteLength, 33);
});

test('digestFromBytes, unknown algorithm or cut hash, throws', () => {
  assert.throws(() => digestFromBytes(new Uint8Array([9, 1, 2])), RangeError);
  assert.throws(() => digestFromBytes(new Uint8Array([1, 1, 2])), RangeError);
  assert.throws(() => digestFromBytes(new Uint8Array(0)), RangeError);
});
