import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  digestAlgorithm,
  digestHex,
  digestOf,
  makeDigest,
  parseDigest,
  parseDigestAlgorithm,
} from './digest.ts';

const SHA256 = `sha256:${'0a'.repeat(32)}`;
const SHA512 = `sha512:${'0a'.repeat(64)}`;

test('parseDigest, complete lower-case digests, are taken as they are', () => {
  assert.equal(parseDigest(SHA256), SHA256);
  assert.equal(parseDigest(SHA512), SHA512);
});

test('parseDigest, anything else, is null', () => {
  const refused = [
    '',
    ':',
    'sha256',
    'sha256:',
    `sha256:${'0a'.repeat(31)}`,
    `sha256:${'0a'.repeat(33)}`,
    `sha256:${'0a'.repeat(64)}`,
    `sha512:${'0a'.repeat(32)}`,
    `sha256:${'0A'.repeat(32)}`,
    `SHA256:${'0a'.repeat(32)}`,
    `sha256:${'0g'.repeat(32)}`,
    `sha256:${'0a'.repeat(31)}0\n`,
    `${SHA256}\n`,
    ` ${SHA256}`,
    `sha256::${'0a'.repeat(31)}0`,
    `sha256:../${'0a'.repeat(30)}0`,
    `sha256+b64u:${'0a'.repeat(32)}`,
    `md5:${'0a'.repeat(16)}`,
    `__proto__:${'0a'.repeat(32)}`,
    `constructor:${'0a'.repeat(32)}`,
    `sha256:${'\u0660'.repeat(64)}`,
  ];
  for (const text of refused) assert.equal(parseDigest(text), null, JSON.stringify(text));
});

test('parseDigest, any text, gives back the text or null', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^sha(256|512):[0-9a-f]{60,130}$/)),
      (text) => {
        const digest = parseDigest(text);
        assert.ok(digest === null || digest === text);
      },
    ),
  );
});

test('digestOf, any bytes, makes a digest that parses into its parts', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.constantFrom('sha256', 'sha512'), (bytes, algorithm) => {
      const digest = digestOf(algorithm, bytes);
      assert.equal(parseDigest(digest), digest);
      assert.equal(digestAlgorithm(digest), algorithm);
      assert.equal(makeDigest(algorithm, digestHex(digest)), digest);
    }),
  );
});

test('digestOf, no bytes, is the well-known empty digest', () => {
  assert.equal(
    digestOf('sha256', new Uint8Array()),
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  );
});

test('makeDigest, hex of another length or case, throws RangeError', () => {
  assert.throws(() => makeDigest('sha512', '0a'.repeat(32)), RangeError);
  assert.throws(() => makeDigest('sha256', '0A'.repeat(32)), RangeError);
});

test('parseDigestAlgorithm, known names only, are algorithms', () => {
  assert.equal(parseDigestAlgorithm('sha256'), 'sha256');
  assert.equal(parseDigestAlgorithm('sha512'), 'sha512');
  for (const text of ['', 'sha384', 'SHA256', 'blake3', 'toString'])
    assert.equal(parseDigestAlgorithm(text), null);
});
