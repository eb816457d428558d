import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isPlainPath, splitTarget } from './request-target.ts';

test('splitTarget, path and query, splits at the first question mark and decodes nothing', () => {
  assert.deepEqual(splitTarget('/v2/a/tags/list?n=1&last=x?y'), {
    path: '/v2/a/tags/list',
    query: 'n=1&last=x?y',
  });
  assert.deepEqual(splitTarget('/v2/a/blobs/sha256%3Aab'), { path: '/v2/a/blobs/sha256%3Aab', query: '' });
});

const HOSTILE = [
  undefined,
  '',
  '*',
  'http://evil.example/v2/',
  'evil.example:443',
  '//evil.example/v2/',
  '/v2//a/tags/list',
  '/v2/../healthz',
  '/v2/a/..',
  '/v2/./a',
  '/v2\\a',
  '/v2/a\u0000',
  '/v2/caf\u00e9',
  `/v2/${'a'.repeat(4096)}`,
];
for (const target of HOSTILE) {
  test(`splitTarget, ${JSON.stringify(target)?.slice(0, 40)}, is refused`, () => {
    assert.equal(splitTarget(target), null);
  });
}

for (const path of [
  '/v2/a%2fb',
  '/v2/a%5Cb',
  '/v2/%2e%2e/x',
  '/v2/a%00',
  '/v2/a%0a',
  '/v2/%ff',
  '/v2/%zz',
  '/v2/%',
]) {
  test(`isPlainPath, ${path}, is refused`, () => {
    assert.equal(isPlainPath(path), false);
  });
}

test('isPlainPath, an escaped colon, is accepted', () => {
  assert.equal(isPlainPath('/v2/a/blobs/sha256%3Aab'), true);
});
