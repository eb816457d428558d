import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseRepositoryName, REPOSITORY_NAME_LENGTH_MAX } from './name.ts';

test('parseRepositoryName, names of the spec, are taken', () => {
  const names = [
    'a',
    '0',
    'app',
    'org/app',
    'a/b/c/d/e',
    'a.b',
    'a_b',
    'a__b',
    'a-b',
    'a----b',
    'blobs/manifests/tags/uploads',
    '127.0.0.1/app',
    'a'.repeat(REPOSITORY_NAME_LENGTH_MAX),
  ];
  for (const name of names) assert.equal(parseRepositoryName(name), name);
});

test('parseRepositoryName, anything else, is null', () => {
  const refused = [
    '',
    '/',
    'a/',
    '/a',
    'a//b',
    'App',
    'a..b',
    'a___b',
    'a._b',
    'a-_b',
    '-a',
    'a-',
    '_a',
    'a.',
    '.',
    '..',
    'a/../b',
    'a/./b',
    'a\\b',
    'a b',
    'a:b',
    'a@b',
    'a%2fb',
    'a\0',
    'a\n',
    'é',
    'a/ſ',
    'ａ',
    '__proto__',
    'a'.repeat(REPOSITORY_NAME_LENGTH_MAX + 1),
  ];
  for (const name of refused) assert.equal(parseRepositoryName(name), null, JSON.stringify(name));
});

test('parseRepositoryName, names made from the grammar, are taken', () => {
  const component = fc
    .tuple(
      fc.stringMatching(/^[a-z0-9]{1,5}$/),
      fc.array(fc.tuple(fc.constantFrom('.', '_', '__', '-', '--'), fc.stringMatching(/^[a-z0-9]{1,5}$/)), {
        maxLength: 3,
      }),
    )
    .map(([head, tail]) => head + tail.flat().join(''));
  fc.assert(
    fc.property(fc.array(component, { minLength: 1, maxLength: 5 }), (components) => {
      const name = components.join('/');
      assert.equal(parseRepositoryName(name), name);
    }),
  );
});

test('parseRepositoryName, any text taken, is safe as path segments', () => {
  const nearNames = fc.string({
    unit: fc.constantFrom('a', 'z', '0', '.', '_', '-', '/', '\\', '%', ':', 'A', '\0', ' '),
  });
  fc.assert(
    fc.property(nearNames, (text) => {
      const name = parseRepositoryName(text);
      if (name === null) return;
      assert.equal(name, text);
      assert.match(name, /^[a-z0-9._/-]+$/);
      for (const segment of name.split('/')) assert.ok(segment !== '' && segment !== '.' && segment !== '..');
    }),
    { numRuns: 2000 },
  );
});
