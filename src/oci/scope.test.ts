import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RegistryError } from './error-codes.ts';
import { formatScope, formatScopes, parseScopes, SCOPE_LENGTH_MAX, SCOPES_MAX } from './scope.ts';

const refused = (error: unknown) => error instanceof RegistryError && error.code === 'REQUEST_INVALID';

test('parseScopes, what clients send, is read', () => {
  const cases: [string[], string[]][] = [
    [[], []],
    [[''], []],
    [['repository:org/app:pull'], ['repository:org/app:pull']],
    [['repository:org/app:push,pull'], ['repository:org/app:push,pull']],
    [
      ['repository:a:pull  repository:b:pull', 'registry:catalog:*'],
      ['repository:a:pull', 'repository:b:pull', 'registry:catalog:*'],
    ],
    [['repository:host:5000/org/app:pull'], ['repository:host:5000/org/app:pull']],
    [['repository(plugin):org/app:pull'], ['repository:org/app:pull']],
    [['repository:a:*'], ['repository:a:*']],
    [['repository:a:pull,,pull,'], ['repository:a:pull']],
    [['repository:a:'], ['repository:a:']],
  ];
  for (const [values, scopes] of cases) assert.deepEqual(parseScopes(values).map(formatScope), scopes);
});

test('parseScopes, unknown types and incomplete entries, are dropped', () => {
  const dropped = [
    'artifact:a:pull',
    'Repository:a:pull',
    'repository',
    'repository:a',
    'repository::pull',
    '::',
    ':a:pull',
    'repository(:a:pull',
    'repository(x)y:a:pull',
    '__proto__:a:pull',
  ];
  assert.deepEqual(parseScopes(dropped), []);
  assert.deepEqual(parseScopes([dropped.join(' ')]), []);
});

test('parseScopes, as many as allowed, are read, and one more is refused', () => {
  const values = Array.from({ length: SCOPES_MAX }, (_, index) => `repository:r${index}:pull`);
  assert.equal(parseScopes(values).length, SCOPES_MAX);
  assert.equal(parseScopes([values.join(' ')]).length, SCOPES_MAX);
  assert.throws(() => parseScopes([...values, 'x:y:z']), refused);
  assert.throws(() => parseScopes([`${values.join(' ')} x`]), refused);
});

test('parseScopes, an overlong entry or value, is refused', () => {
  assert.throws(() => parseScopes([`repository:${'a'.repeat(SCOPE_LENGTH_MAX)}:pull`]), refused);
  assert.throws(() => parseScopes([' '.repeat(10_000_000)]), refused);
});

test('parseScopes, an entry as long as allowed and one longer, are read and refused', () => {
  const entry = (length: number): string => `repository:${'a'.repeat(length - 16)}:pull`;
  assert.equal(entry(1024).length, 1024);
  assert.equal(parseScopes([entry(1024)]).length, 1);
  assert.throws(() => parseScopes([entry(1025)]), refused);
  const full = Array.from({ length: 100 }, () => entry(1024)).join(' ');
  assert.equal(parseScopes([`${full} `]).length, 100);
  assert.throws(() => parseScopes([`${full}  `]), refused);
  assert.throws(() => parseScopes(Array.from({ length: 101 }, () => 'repository:a:pull')), refused);
});

test('parseScopes, a bracket without its partner, a type of brackets alone and one colon, are dropped', () => {
  assert.deepEqual(
    parseScopes(['repository(plugin:a:pull', '(repository:a:pull', '(x):a:pull', 'repository:a']),
    [],
  );
  assert.deepEqual(parseScopes([':a:pull', ':repository:a:pull']), []);
});

test('formatScopes, what parseScopes read, comes back the same', () => {
  const scope = fc.record(
    {
      type: fc.constantFrom('repository' as const, 'registry' as const),
      name: fc.stringMatching(/^[a-z0-9:/.-]{1,20}$/),
      actions: fc
        .uniqueArray(fc.constantFrom('pull', 'push', 'delete', '*', 'other'))
        .map((actions) => new Set(actions)),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(scope, { maxLength: 10 }), (scopes) => {
      assert.deepEqual(parseScopes([formatScopes(scopes)]), scopes);
    }),
  );
});

test('parseScopes, any text, ends in scopes or REQUEST_INVALID', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 200 })), (values) => {
      try {
        for (const { type } of parseScopes(values)) assert.match(type, /^(repository|registry)$/);
      } catch (error) {
        assert.ok(refused(error));
      }
    }),
  );
});
