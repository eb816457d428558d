import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  basic,
  identify,
  openAccessWorld,
  PEOPLE,
  people,
  tokenFor,
} from '../../test/harness/access-world.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Need } from './need.ts';
import type { Access } from './open-access.ts';
import type { Caller } from './principal.ts';

const DEMO = 'ghost/demo' as RepositoryName;
const PULL: Need = { kind: 'repository', action: 'pull' };
const PULL_OR_PUSH: Need = { kind: 'repository', action: 'pull', orAction: 'push' };
const PUSH: Need = { kind: 'repository', action: 'push' };
const DELETE: Need = { kind: 'repository', action: 'delete' };
const CATALOG: Need = { kind: 'catalog' };
const AUTHENTICATED: Need = { kind: 'authenticated' };
const OPEN: Need = { kind: 'open' };

/** `ok`, or what the refusal says: code, error and scope. */
function decision(
  access: Access,
  caller: Caller,
  need: Need,
  repository: RepositoryName | null = DEMO,
): string {
  try {
    access.guard.authorize(caller, need, repository);
    return 'ok';
  } catch (error) {
    assert.ok(error instanceof RegistryError);
    const { challenge } = error;
    return challenge === null
      ? error.code
      : `${error.code} ${challenge.error ?? '-'} ${challenge.scope ?? '-'}`;
  }
}

const NEEDS: readonly [string, Need][] = [
  ['open', OPEN],
  ['authenticated', AUTHENTICATED],
  ['catalog', CATALOG],
  ['pull', PULL],
  ['pull or push', PULL_OR_PUSH],
  ['push', PUSH],
  ['delete', DELETE],
];
const nobody = {
  open: 'ok',
  authenticated: 'UNAUTHORIZED - -',
  catalog: 'UNAUTHORIZED - registry:catalog:*',
  pull: 'UNAUTHORIZED - repository:ghost/demo:pull',
  'pull or push': 'UNAUTHORIZED - repository:ghost/demo:pull,push',
  push: 'UNAUTHORIZED - repository:ghost/demo:pull,push',
  delete: 'UNAUTHORIZED - repository:ghost/demo:delete',
};
const everything = Object.fromEntries(NEEDS.map(([name]) => [name, 'ok']));
const denied = { ...everything, pull: 'DENIED', 'pull or push': 'DENIED', push: 'DENIED', delete: 'DENIED' };
const narrow = {
  open: 'ok',
  authenticated: 'ok',
  catalog: 'UNAUTHORIZED insufficient_scope registry:catalog:*',
  pull: 'UNAUTHORIZED insufficient_scope repository:ghost/demo:pull',
  'pull or push': 'UNAUTHORIZED insufficient_scope repository:ghost/demo:pull,push',
  push: 'UNAUTHORIZED insufficient_scope repository:ghost/demo:pull,push',
  delete: 'UNAUTHORIZED insufficient_scope repository:ghost/demo:delete',
};

interface Row {
  readonly who: string;
  readonly credentials: [string, string] | null;
  /** Query of the token request; absent: Basic itself, or nothing. */
  readonly scope?: string;
  readonly anonymousPull?: readonly string[];
  readonly expected: Record<string, string>;
}

const rows: readonly Row[] = [
  { who: 'nobody', credentials: null, expected: nobody },
  {
    who: 'nobody, where pulls are public',
    credentials: null,
    anonymousPull: ['ghost/*'],
    expected: { ...nobody, pull: 'ok', 'pull or push': 'ok' },
  },
  {
    who: 'an anonymous token',
    credentials: null,
    scope: 'scope=repository:ghost/demo:pull,push',
    anonymousPull: ['ghost/*'],
    expected: { ...narrow, pull: 'ok', 'pull or push': 'ok' },
  },
  {
    who: 'an anonymous token for a private repository',
    credentials: null,
    scope: 'scope=repository:ghost/demo:pull',
    anonymousPull: ['other/*'],
    expected: narrow,
  },
  { who: 'an administrator', credentials: ['root', 'rootpw'], expected: everything },
  {
    who: 'an administrator with an empty token',
    credentials: ['root', 'rootpw'],
    scope: '',
    expected: narrow,
  },
  {
    who: 'an administrator with a token for all',
    credentials: ['root', 'rootpw'],
    scope: 'scope=repository:ghost/demo:*&scope=registry:catalog:*',
    expected: everything,
  },
  {
    who: 'an administrator with a token for another repository',
    credentials: ['root', 'rootpw'],
    scope: 'scope=repository:ghost/other:*',
    expected: narrow,
  },
  {
    who: 'a push-only person',
    credentials: ['ci', 'tokenonly'],
    expected: { ...denied, push: 'ok', 'pull or push': 'ok' },
  },
  {
    who: 'a push-only person with a push token',
    credentials: ['ci', 'tokenonly'],
    scope: 'scope=repository:ghost/demo:pull,push',
    expected: { ...denied, push: 'ok', 'pull or push': 'ok', catalog: narrow.catalog },
  },
  {
    who: 'a push-only person with a pull token',
    credentials: ['ci', 'tokenonly'],
    scope: 'scope=repository:ghost/demo:pull',
    expected: {
      ...denied,
      catalog: narrow.catalog,
      push: narrow.push,
      'pull or push': narrow['pull or push'],
    },
  },
  {
    who: 'a reader',
    credentials: ['reader', 'readerpw'],
    expected: { ...denied, pull: 'ok', 'pull or push': 'ok' },
  },
  { who: 'a developer', credentials: ['dev', 'devpw'], expected: everything },
];

for (const row of rows) {
  test(`authorize, ${row.who}, allows and refuses as declared`, async () => {
    await using world = await openAccessWorld();
    const access = await world.open({ anonymousPull: row.anonymousPull ?? [] });
    const header = row.credentials === null ? null : basic(...row.credentials);
    const sent = row.scope === undefined ? header : `Bearer ${await tokenFor(access, header, row.scope)}`;
    const caller = await identify(access, sent);
    const decisions = Object.fromEntries(NEEDS.map(([name, need]) => [name, decision(access, caller, need)]));
    assert.deepEqual(decisions, row.expected);
  });
}

test('authorize, a need that nobody knows or a repository need without one, is refused even to an administrator', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const caller = await identify(access, basic('root', 'rootpw'));
  assert.equal(decision(access, caller, { kind: 'unheard-of' } as unknown as Need), 'DENIED');
  assert.equal(decision(access, caller, PULL, null), 'DENIED');
});

test('authorize, a repository that exists or not, is refused in the same words', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const caller = await identify(access, basic('ci', 'tokenonly'));
  const messages = ['a/one', 'a/two'].map((name) => {
    try {
      access.guard.authorize(caller, PULL, name as RepositoryName);
      return 'ok';
    } catch (error) {
      return String(error).replace(name, '<name>');
    }
  });
  assert.equal(messages[0], messages[1]);
  assert.match(messages[0] ?? '', /no right to pull/);
});

test('may, rights against token, tells a narrow token from a missing right', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const token = await tokenFor(access, basic('reader', 'readerpw'), 'scope=repository:ghost/demo:pull');
  const caller = await identify(access, `Bearer ${token}`);
  assert.equal(access.guard.may(caller, 'pull', DEMO), 'yes');
  assert.equal(access.guard.may(caller, 'pull', 'ghost/other' as RepositoryName), 'token_too_narrow');
  assert.equal(access.guard.may(caller, 'push', DEMO), 'no');
});

const hostile: readonly [string, readonly string[], string][] = [
  ['two headers', [basic('root', 'rootpw'), basic('root', 'rootpw')], 'REQUEST_INVALID'],
  ['a password of one megabyte', [basic('root', 'x'.repeat(1 << 20))], 'REQUEST_INVALID'],
  ['bad base64', ['Basic !!!'], 'UNAUTHORIZED'],
  ['an unknown scheme', ['Negotiate abc'], 'UNAUTHORIZED'],
  ['NUL', [basic('root', 'rootpw\0')], 'UNAUTHORIZED'],
  ['a wrong password', [basic('root', 'changeme')], 'UNAUTHORIZED'],
  ['an unknown user', [basic('toor', 'rootpw')], 'UNAUTHORIZED'],
  ['a property of every object as user', [basic('__proto__', 'rootpw')], 'UNAUTHORIZED'],
  ['a token that is none', ['Bearer rubbish'], 'UNAUTHORIZED'],
];
for (const [what, authorization, code] of hostile) {
  test(`identify, ${what}, throws ${code}`, async () => {
    await using world = await openAccessWorld();
    const access = await world.open();
    const request = { authorization, address: '192.0.2.1', challengeScope: 'repository:a:pull' };
    await assert.rejects(access.guard.identify(request), (error) => {
      assert.ok(error instanceof RegistryError);
      assert.equal(error.code, code);
      if (code === 'UNAUTHORIZED') {
        const scheme = authorization[0]?.split(' ')[0];
        assert.equal(error.challenge?.scope, 'repository:a:pull');
        assert.equal(error.challenge?.error, scheme === 'Bearer' ? 'invalid_token' : null);
      }
      return true;
    });
  });
}

test('identify, Basic with empty name and password, is anonymous', async () => {
  await using world = await openAccessWorld();
  const caller = await identify(await world.open(), 'Basic Og==');
  assert.deepEqual([caller.principal.kind, caller.principal.name, caller.via], ['anonymous', '', 'none']);
});

test('identify, by password and by token, tells which it was', async () => {
  await using world = await openAccessWorld();
  const access = await world.open({ anonymousPull: ['**'] });
  const header = basic('reader', 'readerpw');
  assert.equal((await identify(access, header)).via, 'basic');
  assert.equal((await identify(access, `Bearer ${await tokenFor(access, header, '')}`)).via, 'token');
  assert.equal((await identify(access, `Bearer ${await tokenFor(access, null, '')}`)).via, 'token');
});

test('challengeScope, of each need, names what to ask a token for', async () => {
  await using world = await openAccessWorld();
  const { guard } = await world.open();
  assert.equal(guard.challengeScope(CATALOG, null), 'registry:catalog:*');
  assert.equal(guard.challengeScope(PULL, DEMO), 'repository:ghost/demo:pull');
  assert.equal(guard.challengeScope(PULL, null), null);
  assert.equal(guard.challengeScope(AUTHENTICATED, DEMO), null);
  assert.equal(guard.challengeScope(OPEN, null), null);
});

test('identify, a token of a process that another replaces, holds there and after a restart', async () => {
  await using world = await openAccessWorld();
  const one = await world.open();
  const token = await tokenFor(one, basic('root', 'rootpw'), '');
  const two = await world.open();
  assert.equal((await identify(two, `Bearer ${token}`)).principal.name, 'root');
});

test('replace, a changed password, ends Basic and tokens with the next request', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const header = basic('root', 'rootpw');
  const token = await tokenFor(access, header, '');
  await identify(access, header);
  access.users.replace(people({ root: ['another', null] }));
  await assert.rejects(identify(access, header), { code: 'UNAUTHORIZED' });
  await assert.rejects(identify(access, `Bearer ${token}`), { code: 'UNAUTHORIZED' });
  assert.equal((await identify(access, basic('root', 'another'))).principal.name, 'root');
});

test('replace, changed rights, hold for tokens that were issued before', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const token = await tokenFor(access, basic('dev', 'devpw'), 'scope=repository:ghost/demo:pull,push');
  access.users.replace(people({ dev: ['devpw', ['repository:ghost/*:pull']] }));
  const caller = await identify(access, `Bearer ${token}`);
  assert.equal(decision(access, caller, PULL), 'ok');
  assert.equal(decision(access, caller, PUSH), 'DENIED');
});

test('replace, a person who is gone, ends their tokens', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const token = await tokenFor(access, basic('dev', 'devpw'), '');
  access.users.replace(people({ root: ['rootpw', null] }));
  await assert.rejects(identify(access, `Bearer ${token}`), { code: 'UNAUTHORIZED' });
});

test('replace, people that cannot be, throws and keeps the old ones', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const bad = people({ root: ['$6$salt$hash', null] });
  assert.throws(() => access.users.replace(bad), /use argon2 or bcrypt/);
  assert.throws(() => access.users.replace({ ...PEOPLE, passwords: new Map() }), /no password/);
  assert.equal((await identify(access, basic('root', 'rootpw'))).principal.name, 'root');
});

test('identify, anonymous tokens after public pulls were switched off, are refused', async () => {
  await using world = await openAccessWorld();
  const token = await tokenFor(await world.open({ anonymousPull: ['**'] }), null, '');
  await assert.rejects(identify(await world.open(), `Bearer ${token}`), { code: 'UNAUTHORIZED' });
});
