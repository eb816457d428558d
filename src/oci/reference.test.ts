import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDigestTag, parseReference, parseTag, type Tag } from './reference.ts';

test('parseTag, tags of the spec, are taken', () => {
  for (const tag of ['latest', 'v1.2.3', '_x', 'A', '0', 'a..b', 'a--', '__proto__', 'a'.repeat(128)]) {
    assert.equal(parseTag(tag), tag);
  }
});

test('parseTag, anything else, is null', () => {
  for (const tag of ['', '.a', '-a', 'a+b', 'a/b', 'a:b', 'a b', 'a\n', 'a\0', 'é', 'a'.repeat(129)]) {
    assert.equal(parseTag(tag), null, JSON.stringify(tag));
  }
});

test('parseReference, text without a colon, is a tag or nothing', () => {
  assert.deepEqual(parseReference('latest'), { kind: 'tag', tag: 'latest' });
  assert.equal(parseReference('.latest'), null);
  assert.equal(parseReference(''), null);
});

test('parseReference, text with a colon, is a digest or nothing', () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  assert.deepEqual(parseReference(digest), { kind: 'digest', digest });
  for (const text of ['sha256:abc', 'latest:', ':', `sha256:${'A'.repeat(64)}`, `md5:${'0'.repeat(32)}`]) {
    assert.equal(parseReference(text), null, text);
  }
});

test('isDigestTag, tags that clients keep signatures and referrers under, are told from all others', () => {
  const hex = 'a'.repeat(64);
  for (const tag of [
    `sha256-${hex}`,
    `sha512-${hex}`,
    `sha256-${hex}.sig`,
    `sha256-${hex}.att`,
    `sha256-${hex}.sbom`,
  ]) {
    assert.equal(isDigestTag(tag as Tag), true, tag);
  }
  for (const tag of [
    'v1',
    'sha256-abc.sig',
    `sha256-${hex}a`,
    `sha256-${hex}.sig2`,
    `x-sha256-${hex}.sig`,
    `md5-${hex}`,
  ]) {
    assert.equal(isDigestTag(tag as Tag), false, tag);
  }
});
