import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RepositoryName } from '../oci/name.ts';
import {
  EVERY_REPOSITORY,
  parseGrant,
  principalMay,
  pullGrants,
  scopesAllow,
  scopesAllowCatalog,
} from './grants.ts';
import type { Action, Principal } from './principal.ts';

const repository = (name: string): RepositoryName => name as RepositoryName;

function person(...scopes: readonly string[]): Principal {
  return { kind: 'person', name: 'ann', administrator: false, grants: scopes.map(parseGrant) };
}

const cases: readonly [string, Action, string, boolean][] = [
  ['repository:ghost/demo:push', 'push', 'ghost/demo', true],
  ['repository:ghost/demo:push', 'pull', 'ghost/demo', false],
  ['repository:ghost/demo:push', 'push', 'ghost/demo2', false],
  ['repository:ghost/*:pull,push', 'push', 'ghost/demo', true],
  ['repository:ghost/*:pull,push', 'push', 'ghost/demo/deep', false],
  ['repository:ghost/**:pull,push', 'push', 'ghost/demo/deep', true],
  ['repository:ghost/*:*', 'delete', 'ghost/demo', true],
  ['repository:ghost/*:*', 'delete', 'ghosts/demo', false],
  ['registry:catalog:*', 'pull', 'ghost/demo', false],
];
for (const [scope, action, name, expected] of cases) {
  test(`principalMay, ${scope} asked to ${action} ${name}, says ${expected}`, () => {
    assert.equal(principalMay(person(scope), action, repository(name)), expected);
  });
}

for (const text of [
  '',
  'ghost/demo',
  'repository:ghost/demo:',
  'repository:ghost/demo:read',
  'repository:ghost/demo:pull,read',
  'registry:other:*',
  'registry:catalog:pull',
  'thing:x:pull',
  'repository:a:pull repository:b:pull',
  'repository:a[b]:pull',
  'repository:a***:pull',
]) {
  test(`parseGrant, "${text}", throws`, () =>
    assert.throws(() => parseGrant(text), { code: 'REQUEST_INVALID' }));
}

test('parseGrant, the catalog, is a grant of the registry and as EVERY_REPOSITORY has it', () => {
  const grant = parseGrant('registry:catalog:*');
  assert.deepEqual(grant, { kind: 'registry', pattern: 'catalog', actions: new Set(['catalog']) });
  assert.deepEqual(EVERY_REPOSITORY[1], grant);
});

test('principalMay, an administrator without grants, may everything', () => {
  const admin: Principal = { kind: 'person', name: 'root', administrator: true, grants: [] };
  assert.equal(principalMay(admin, 'delete', repository('any/thing')), true);
});

test('principalMay, anonymous with public globs, may pull there and nothing else', () => {
  const anonymous: Principal = {
    kind: 'anonymous',
    name: '',
    administrator: false,
    grants: pullGrants(['public/**']),
  };
  assert.equal(principalMay(anonymous, 'pull', repository('public/a/b')), true);
  assert.equal(principalMay(anonymous, 'push', repository('public/a/b')), false);
  assert.equal(principalMay(anonymous, 'pull', repository('private/a')), false);
});

test('EVERY_REPOSITORY, of a person, is every right without being administrator', () => {
  const member: Principal = { kind: 'person', name: 'ann', administrator: false, grants: EVERY_REPOSITORY };
  assert.equal(principalMay(member, 'delete', repository('a/b/c')), true);
});

test('scopesAllow, a star in a token, gives nothing: tokens are issued with the actions spelt out', () => {
  const scopes = [{ type: 'repository', name: 'a', actions: new Set(['*']) }] as const;
  assert.equal(scopesAllow(scopes, 'delete', repository('a')), false);
});

test('scopesAllowCatalog, one of type, name and action alone, is not enough', () => {
  const all = new Set(['*']);
  assert.equal(scopesAllowCatalog([{ type: 'registry', name: 'catalog', actions: all }]), true);
  assert.equal(scopesAllowCatalog([{ type: 'registry', name: 'other', actions: all }]), false);
  assert.equal(
    scopesAllowCatalog([{ type: 'registry', name: 'catalog', actions: new Set(['pull']) }]),
    false,
  );
  assert.equal(scopesAllowCatalog([{ type: 'repository', name: 'catalog', actions: all }]), false);
});
