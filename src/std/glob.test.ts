import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileGlob, GLOB_LENGTH_MAX, globIsValid } from './glob.ts';

test('compileGlob, patterns against texts, match in full', () => {
  const cases: [string, string, boolean][] = [
    ['org/app', 'org/app', true],
    ['org/app', 'org/app2', false],
    ['org/app', 'xorg/app', false],
    ['org/*', 'org/app', true],
    ['org/*', 'org/', true],
    ['org/*', 'org/team/app', false],
    ['org/*', 'org', false],
    ['org/**', 'org/team/app', true],
    ['org/**', 'organic/app', false],
    ['**/app', 'org/team/app', true],
    ['**/app', 'app', false],
    ['**', '', true],
    ['**', 'a/b/c', true],
    ['*', 'a', true],
    ['*', '', true],
    ['*', 'a/b', false],
    ['v?', 'v1', true],
    ['v?', 'v', false],
    ['v?', 'v12', false],
    ['a?b', 'a/b', false],
    ['?', '😀', true],
    ['v*.*', 'v1.2.3', true],
    ['v*', 'dev-v1', false],
    ['a*b**c', 'axb/y/c', true],
    ['a*b**c', 'a/b/c', false],
    ['a**b*c', 'a/x/bbbc', true],
    ['A', 'a', false],
    ['.', 'x', false],
    ['a.b', 'axb', false],
  ];
  for (const [pattern, text, matches] of cases) {
    assert.equal(compileGlob(pattern)(text), matches, `${pattern} against ${text}`);
  }
});

test('compileGlob, any pattern and text, agrees with a regular expression', () => {
  const pattern = fc.string({
    unit: fc.constantFrom('a', 'b', '/', '.', '*', '?'),
    minLength: 1,
    maxLength: 10,
  });
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.'), maxLength: 10 });
  fc.assert(
    fc.property(
      pattern.filter((value) => !value.includes('***')),
      text,
      (glob, subject) => {
        const source = glob.replace(
          /\*\*|[*?.]/g,
          (sign) => ({ '**': '.*', '*': '[^/]*', '?': '[^/]' })[sign] ?? '\\.',
        );
        assert.equal(compileGlob(glob)(subject), new RegExp(`^${source}$`).test(subject));
      },
    ),
    { numRuns: 5000 },
  );
});

test('compileGlob, a pattern that makes backtracking matchers explode, comes to an end', () => {
  const pattern = `${'*a'.repeat(120)}b`;
  assert.equal(compileGlob(pattern)('a'.repeat(10_000)), false);
});

test('globIsValid, patterns of other kinds, are named', () => {
  for (const pattern of [
    '',
    '***',
    '[a-z]',
    '{a,b}',
    '!a',
    '^a',
    'a$',
    'a|b',
    '(a)',
    'a+',
    'a\\*',
    'a b',
    'a\n',
    'a\0',
    'a'.repeat(GLOB_LENGTH_MAX + 1),
  ]) {
    assert.equal(typeof globIsValid(pattern), 'string', JSON.stringify(pattern));
    assert.throws(() => compileGlob(pattern), RangeError);
  }
});

test('globIsValid, names, tags and globs of them, are fine', () => {
  for (const pattern of ['a', '**', '*', 'org/**', 'v*.?', 'A_b-c.d', 'a'.repeat(GLOB_LENGTH_MAX)]) {
    assert.equal(globIsValid(pattern), null);
  }
});
