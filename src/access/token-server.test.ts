import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import {
  type AccessWorld,
  ADDRESS,
  basic,
  identify,
  openAccessWorld,
  people,
  SERVICE,
} from '../../test/harness/access-world.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { Access } from './open-access.ts';
import type { TokenAnswer } from './token-server.ts';

function get(access: Access, query: string, authorization: string | null): Promise<TokenAnswer> {
  return access.tokenServer.issueByQuery({
    parameters: new URLSearchParams(query),
    authorization: authorization === null ? [] : [authorization],
    address: ADDRESS,
  });
}

function post(access: Access, form: Record<string, string> | string): Promise<TokenAnswer> {
  return access.tokenServer.issueByForm({ parameters: new URLSearchParams(form), address: ADDRESS });
}

const ROOT = basic('root', 'rootpw');
const DEV = basic('dev', 'devpw');
const READER = basic('reader', 'readerpw');
const CI = basic('ci', 'tokenonly');

const granted: readonly [string, string, string, string][] = [
  ['no scope', ROOT, '', ''],
  ['docker', ROOT, 'scope=repository:a/b:push,pull', 'repository:a/b:pull,push'],
  ['a star of an administrator', ROOT, 'scope=repository:a:*', 'repository:a:pull,push,delete'],
  ['a star of a reader', READER, 'scope=repository:ghost/a:*', 'repository:ghost/a:pull'],
  ['more than the rights', READER, 'scope=repository:ghost/a:pull,push,delete', 'repository:ghost/a:pull'],
  ['none of the rights', READER, 'scope=repository:other/a:pull', ''],
  ['push and pull, push-only', CI, 'scope=repository:ghost/demo:pull,push', 'repository:ghost/demo:push'],
  ['the catalog', READER, 'scope=registry:catalog:*', 'registry:catalog:*'],
  ['another thing of the registry', ROOT, 'scope=registry:users:*', ''],
  ['unknown types and actions', ROOT, 'scope=thing:a:pull&scope=repository:a:pull,fly', 'repository:a:pull'],
  ['a class', ROOT, 'scope=repository(plugin):a:pull', 'repository:a:pull'],
  ['a name that cannot be', ROOT, 'scope=repository:../a:pull&scope=repository:A:pull', ''],
  [
    'two parameters',
    DEV,
    'scope=repository:ghost/a:pull,push&scope=repository:ghost/b:pull',
    'repository:ghost/a:pull,push repository:ghost/b:pull',
  ],
  [
    'two in one, plus a space twice',
    DEV,
    'scope=repository:ghost/a:push++repository:ghost/b:pull',
    'repository:ghost/a:push repository:ghost/b:pull',
  ],
  [
    'the same repository twice',
    DEV,
    'scope=repository:ghost/a:push&scope=repository:ghost/a:pull',
    'repository:ghost/a:pull,push',
  ],
];
for (const [what, who, query, scope] of granted) {
  test(`issueByQuery, ${what}, grants "${scope}"`, async () => {
    await using world = await openAccessWorld();
    const answer = await get(await world.open(), query, who);
    assert.equal(answer.scope, scope);
    const access = decodeJwt(answer.token)['access'] as { type: string; name: string; actions: string[] }[];
    assert.equal(
      access.map(({ type, name, actions }) => `${type}:${name}:${actions.join(',')}`).join(' '),
      scope,
    );
  });
}

test('issueByQuery, with docker login’s parameters, answers with all that clients read', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const answer = await get(
    access,
    `account=root&client_id=docker&offline_token=true&service=${SERVICE}`,
    ROOT,
  );
  assert.equal(answer.token, answer.access_token);
  assert.equal(answer.expires_in, 300);
  assert.equal(Date.parse(answer.issued_at), Math.floor(world.clock.now() / 1000) * 1000);
  assert.match(answer.refresh_token ?? '', /^drift_rt_/);
  const payload = decodeJwt(answer.token);
  assert.deepEqual([payload.iss, payload.aud, payload.sub], [SERVICE, SERVICE, 'root']);
  const caller = await identify(access, `Bearer ${answer.token}`);
  access.guard.authorize(caller, { kind: 'authenticated' }, null);
});

test('issueByQuery, without offline_token, gives no refresh token', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  assert.equal((await get(access, '', ROOT)).refresh_token, undefined);
  assert.equal((await get(access, 'offline_token=false', ROOT)).refresh_token, undefined);
});

test('issueByQuery, anonymous, is refused unless pulls are public, and then gives no refresh token', async () => {
  await using world = await openAccessWorld();
  const query =
    'offline_token=true&scope=repository:public/a:pull,push&scope=repository:private/a:pull&scope=registry:catalog:*';
  await assert.rejects(get(await world.open(), query, null), refusedWithBasic);
  const access = await world.open({ anonymousPull: ['public/**'] });
  for (const header of [null, 'Basic Og==']) {
    const answer = await get(access, query, header);
    assert.equal(answer.scope, 'repository:public/a:pull');
    assert.equal(answer.refresh_token, undefined);
    assert.equal(decodeJwt(answer.token).sub, '');
  }
});

test('issueByQuery, a wrong password, is refused even where anonymous pulls are on', async () => {
  await using world = await openAccessWorld();
  const access = await world.open({ anonymousPull: ['**'] });
  await assert.rejects(get(access, '', basic('root', 'wrong')), refusedWithBasic);
  await assert.rejects(get(access, '', 'Bearer abc'), refusedWithBasic);
});

const invalid: readonly [string, string][] = [
  ['another service', 'service=other.test'],
  ['a service that stands there twice', `service=${SERVICE}&service=${SERVICE}`],
  ['101 scopes', Array.from({ length: 101 }, (_, n) => `scope=repository:r${n}:pull`).join('&')],
  [
    '101 scopes in one parameter',
    `scope=${Array.from({ length: 101 }, (_, n) => `repository:r${n}:pull`).join('+')}`,
  ],
  ['a scope of a megabyte', `scope=repository:${'a'.repeat(1 << 20)}:pull`],
  [
    'scopes that no header holds',
    Array.from({ length: 60 }, (_, n) => `scope=repository:${'a'.repeat(200)}${n}:pull`).join('&'),
  ],
];
for (const [what, query] of invalid) {
  test(`issueByQuery, ${what}, throws REQUEST_INVALID`, async () => {
    await using world = await openAccessWorld();
    await assert.rejects(get(await world.open(), query, ROOT), { code: 'REQUEST_INVALID' });
  });
}

test('issueByForm, the password grant of containerd, answers with scope and token', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const form = {
    grant_type: 'password',
    service: SERVICE,
    client_id: 'containerd-client',
    username: 'dev',
    password: 'devpw',
  };
  const answer = await post(access, { ...form, scope: 'repository:ghost/a:pull,push' });
  assert.equal(answer.scope, 'repository:ghost/a:pull,push');
  assert.equal(answer.refresh_token, undefined);
  assert.ok((await post(access, { ...form, access_type: 'offline' })).refresh_token);
  await assert.rejects(post(access, { ...form, password: 'x' }), refusedWithBasic);
  await assert.rejects(post(access, { ...form, username: '', password: '' }), refusedWithBasic);
});

test('issueByForm, no grant type or an unknown one, throws REQUEST_INVALID', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  await assert.rejects(post(access, ''), { code: 'REQUEST_INVALID' });
  await assert.rejects(post(access, { grant_type: 'client_credentials' }), { code: 'REQUEST_INVALID' });
  await assert.rejects(post(access, 'grant_type=password&grant_type=password'), { code: 'REQUEST_INVALID' });
});

async function refreshToken(access: Access): Promise<string> {
  const { refresh_token } = await get(access, 'offline_token=true&client_id=docker', DEV);
  assert.ok(refresh_token);
  return refresh_token;
}

const redeem = (access: Access, token: string): Promise<TokenAnswer> =>
  post(access, {
    grant_type: 'refresh_token',
    refresh_token: token,
    client_id: 'other',
    scope: 'repository:ghost/a:pull',
  });

test('issueByForm, a refresh token, works again and again, in every process', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const token = await refreshToken(access);
  for (const process of [access, access, await world.open()]) {
    assert.equal((await redeem(process, token)).scope, 'repository:ghost/a:pull');
  }
});

test('issueByForm, a refresh token, is kept as a hash and its use is noted', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  const token = await refreshToken(access);
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token)));
  const row = await world.meta.read.access.refreshToken(hash);
  assert.deepEqual([row?.userName, row?.service, row?.clientId], ['dev', SERVICE, 'docker']);
  world.clock.at += 3_600_000;
  await redeem(access, token);
  assert.equal((await world.meta.read.access.refreshToken(hash))?.usedAt, world.clock.at);
});

const ended: readonly [string, (world: AccessWorld, access: Access) => Promise<Access> | Access][] = [
  ['after another password', (_, access) => replaced(access, { dev: ['newpw', null] })],
  ['after the user went', (_, access) => replaced(access, { root: ['rootpw', null] })],
  [
    'after its time',
    (world, access) => {
      world.clock.at += 86_401_000;
      return access;
    },
  ],
  ['at another service', (world) => world.open({ service: 'other.test' })],
];
for (const [when, change] of ended) {
  test(`issueByForm, a refresh token ${when}, is refused`, async () => {
    await using world = await openAccessWorld();
    const access = await world.open();
    const token = await refreshToken(access);
    await redeem(access, token);
    await assert.rejects(redeem(await change(world, access), token), refusedWithBasic);
  });
}

test('issueByForm, a refresh token that nobody issued, is refused', async () => {
  await using world = await openAccessWorld();
  const access = await world.open();
  for (const token of ['', 'x', `drift_rt_${'A'.repeat(43)}`, 'y'.repeat(100_000)]) {
    await assert.rejects(redeem(access, token), refusedWithBasic);
  }
});

function replaced(access: Access, users: Parameters<typeof people>[0]): Access {
  access.users.replace(people(users));
  return access;
}

function refusedWithBasic(error: unknown): boolean {
  assert.ok(error instanceof RegistryError);
  assert.equal(error.code, 'UNAUTHORIZED');
  assert.match(error.headers['WWW-Authenticate'] ?? '', /^Basic realm=/);
  return true;
}
