import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exportJWK, generateKeyPair, importJWK, type JWK, type JWTHeaderParameters, SignJWT } from 'jose';
import { type AccessWorld, openAccessWorld, SERVICE } from '../../test/harness/access-world.ts';
import { ACCESS_TOKEN_SECONDS_MAX } from '../config/keys.ts';
import { Unavailable } from '../std/unavailable.ts';
import { type AccessTokens, createAccessTokens } from './access-tokens.ts';
import { createSigningKeys, KEY_SIGNS_MS, type SigningKeys } from './signing-keys.ts';

function openTokens(world: AccessWorld, lifetimeSeconds = 300): { tokens: AccessTokens; keys: SigningKeys } {
  const keys = createSigningKeys({ meta: world.meta, clock: world.clock });
  const tokens = createAccessTokens({ keys, clock: world.clock, service: SERVICE, lifetimeSeconds });
  return { tokens, keys };
}

const CONTENT = { userName: 'ann', stamp: 'stamp', scopes: [] };

interface Forged {
  readonly header?: Partial<JWTHeaderParameters>;
  readonly claims?: Record<string, unknown>;
}

/** A token with our own key and claims, but for what `forged` changes. */
async function forge(
  world: AccessWorld,
  keys: SigningKeys,
  { header = {}, claims = {} }: Forged,
  key?: CryptoKey | Uint8Array,
): Promise<string> {
  const { keyId, privateKey } = await keys.current();
  const now = Math.floor(world.clock.now() / 1000);
  const usual = {
    iss: SERVICE,
    aud: SERVICE,
    sub: 'ann',
    jti: 'x',
    iat: now,
    nbf: now,
    exp: now + 300,
    stamp: 's',
    access: [],
  };
  return new SignJWT({ ...usual, ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'drift-access+jwt', kid: keyId, ...header })
    .sign(key ?? privateKey);
}

test('verify, an issued token, gives back what went in, and checks its signature once', async () => {
  await using world = await openAccessWorld();
  const { tokens } = openTokens(world);
  const scopes = [{ type: 'repository', name: 'a/b', actions: new Set(['pull']) }] as const;
  const { token } = await tokens.issue({ ...CONTENT, scopes });
  for (let use = 0; use < 3; use += 1) {
    const read = await tokens.verify(token);
    assert.deepEqual([read?.userName, read?.stamp, read?.scopes], ['ann', 'stamp', scopes]);
  }
  assert.equal(tokens.signaturesChecked(), 1);
});

test('verify, a token past its time, is refused also when it was good before', async () => {
  await using world = await openAccessWorld();
  const { tokens } = openTokens(world);
  const { token } = await tokens.issue(CONTENT);
  world.clock.at += 299_000;
  assert.ok(await tokens.verify(token));
  world.clock.at += 2_000;
  assert.equal(await tokens.verify(token), null);
  assert.equal(await openTokens(world).tokens.verify(token), null);
});

test('verify, a token in the millisecond in which it expires, is refused though it was good before', async () => {
  await using world = await openAccessWorld();
  const { tokens } = openTokens(world);
  const { token, issuedAt, expiresInSeconds } = await tokens.issue(CONTENT);
  assert.equal(issuedAt, Math.floor(world.clock.at / 1000) * 1000);
  const end = issuedAt + expiresInSeconds * 1000;
  world.clock.at = end - 1;
  assert.ok(await tokens.verify(token));
  world.clock.at = end;
  assert.equal(await tokens.verify(token), null);
});

test('verify, a clock a minute behind the one that issued the token, accepts it, and one further behind does not', async () => {
  await using world = await openAccessWorld();
  const { tokens } = openTokens(world);
  const { token, issuedAt } = await tokens.issue(CONTENT);
  world.clock.at = issuedAt - 60_000;
  assert.ok(await openTokens(world).tokens.verify(token));
  world.clock.at = issuedAt - 60_001;
  assert.equal(await openTokens(world).tokens.verify(token), null);
});

test('verify, a ledger that is away when its key is asked for, is no bad token', async () => {
  await using world = await openAccessWorld();
  const { token } = await openTokens(world).tokens.issue(CONTENT);
  const { tokens } = openTokens(world);
  await world.meta.close();
  await assert.rejects(async () => tokens.verify(token), Unavailable);
});

const claims: readonly [string, Record<string, unknown>][] = [
  ['another audience', { aud: 'other.test' }],
  ['another issuer', { iss: 'other.test' }],
  ['expired', { exp: 1 }],
  ['not valid yet', { nbf: 4e9 }],
  ['no expiry', { exp: undefined }],
  ['no stamp', { stamp: undefined }],
  ['no user', { sub: undefined }],
  ['a user that is no text', { sub: 7 }],
  ['a stamp that is no text', { stamp: 7 }],
  ['access that holds null', { access: [null] }],
  ['access that holds text', { access: ['repository:a:pull'] }],
  ['access to a name that is no text', { access: [{ type: 'registry', name: 7, actions: ['*'] }] }],
  ['actions that are no list', { access: [{ type: 'registry', name: 'catalog', actions: '*' }] }],
  ['an action that is no text', { access: [{ type: 'registry', name: 'catalog', actions: ['*', 7] }] }],
  ['access that is no list', { access: 'all' }],
  ['access to a name that cannot be', { access: [{ type: 'repository', name: '../x', actions: ['pull'] }] }],
];
for (const [what, changed] of claims) {
  test(`verify, a token of our own key with ${what}, is refused`, async () => {
    await using world = await openAccessWorld();
    const { tokens, keys } = openTokens(world);
    assert.ok(await tokens.verify(await forge(world, keys, {})), 'the unchanged token is good');
    assert.equal(await tokens.verify(await forge(world, keys, { claims: changed })), null);
  });
}

test('verify, another type of token, is refused', async () => {
  await using world = await openAccessWorld();
  const { tokens, keys } = openTokens(world);
  assert.equal(await tokens.verify(await forge(world, keys, { header: { typ: 'JWT' } })), null);
});

test('verify, alg none, is refused', async () => {
  await using world = await openAccessWorld();
  const { tokens, keys } = openTokens(world);
  const [, payload] = (await forge(world, keys, {})).split('.');
  const { keyId } = await keys.current();
  for (const alg of ['none', 'None', 'ES256']) {
    const header = Buffer.from(JSON.stringify({ alg, typ: 'drift-access+jwt', kid: keyId })).toString(
      'base64url',
    );
    assert.equal(await tokens.verify(`${header}.${payload}.`), null);
  }
});

test('verify, HS256 with our public key as the secret, is refused', async () => {
  await using world = await openAccessWorld();
  const { tokens, keys } = openTokens(world);
  const secret = new TextEncoder().encode(JSON.stringify((await keys.publicSet()).keys[0]));
  assert.equal(await tokens.verify(await forge(world, keys, { header: { alg: 'HS256' } }, secret)), null);
});

test('verify, a foreign key under our key id, is refused, its jwk in the header or not', async () => {
  await using world = await openAccessWorld();
  const { tokens, keys } = openTokens(world);
  const foreign = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(foreign.publicKey);
  for (const header of [{}, { jwk }, { jku: 'https://evil.test/jwks' }, { kid: 'mine', jwk }]) {
    assert.equal(await tokens.verify(await forge(world, keys, { header }, foreign.privateKey)), null);
  }
});

test('verify, a token with one character changed, is refused', async () => {
  await using world = await openAccessWorld();
  const { tokens } = openTokens(world);
  const { token } = await tokens.issue(CONTENT);
  const [header, payload = '', signature] = token.split('.');
  const other = Buffer.from(payload, 'base64url').toString().replace('"ann"', '"bob"');
  assert.equal(
    await tokens.verify(`${header}.${Buffer.from(other).toString('base64url')}.${signature}`),
    null,
  );
});

test('current, two processes at once, agree on one key', async () => {
  await using world = await openAccessWorld();
  const [one, two] = [openTokens(world), openTokens(world)];
  const [a, b] = await Promise.all([one.keys.current(), two.keys.current()]);
  assert.equal(a.keyId, b.keyId);
});

test('current, a key past its time, is replaced; its last tokens hold until they expire', async () => {
  await using world = await openAccessWorld();
  const [one, two] = [openTokens(world), openTokens(world)];
  const first = await one.keys.current();
  world.clock.at += KEY_SIGNS_MS - 1_000;
  const { token } = await one.tokens.issue(CONTENT);
  world.clock.at += 2_000;
  const second = await one.keys.current();
  assert.notEqual(first.keyId, second.keyId);
  assert.ok(await one.tokens.verify(token));
  assert.ok(
    await two.tokens.verify((await one.tokens.issue(CONTENT)).token),
    'the other process learns the new key',
  );
  assert.equal((await one.keys.publicSet()).keys.length, 2);
  world.clock.at += ACCESS_TOKEN_SECONDS_MAX * 1000 + 3_600_000;
  assert.equal((await one.keys.publicSet()).keys.length, 1);
});

test('verify, a late token of a key made under a shorter lifetime, holds for all of its own', async () => {
  await using world = await openAccessWorld();
  const before = await openTokens(world, 60).keys.current();
  world.clock.at += KEY_SIGNS_MS - 1_000;
  const { tokens, keys } = openTokens(world, ACCESS_TOKEN_SECONDS_MAX);
  const { token } = await tokens.issue(CONTENT);
  assert.equal((await keys.current()).keyId, before.keyId);
  world.clock.at += ACCESS_TOKEN_SECONDS_MAX * 1000 - 5_000;
  assert.ok(await openTokens(world).tokens.verify(token));
});

test('publicSet, as published, holds no private part and verifies', async () => {
  await using world = await openAccessWorld();
  const { keys } = openTokens(world);
  const { keys: published } = await keys.publicSet();
  assert.deepEqual(Object.keys(published[0] ?? {}).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
  assert.ok(await importJWK(published[0] as JWK, 'ES256'));
});

test('find, a flood of key ids that are not ours, asks the ledger a few times only', async () => {
  await using world = await openAccessWorld();
  let asked = 0;
  const counting = {
    ...world.meta,
    read: {
      ...world.meta.read,
      access: new Proxy(world.meta.read.access, {
        get(target, name) {
          if (name === 'signingKeys') asked += 1;
          const member: unknown = Reflect.get(target, name);
          return typeof member === 'function' ? member.bind(target) : member;
        },
      }),
    },
  };
  const keys = createSigningKeys({ meta: counting, clock: world.clock });
  await Promise.all(Array.from({ length: 500 }, (_, index) => keys.find(`foreign-${index}`)));
  assert.ok(asked >= 1 && asked <= 3, `${asked} queries`);
});
