import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import fastify from 'fastify';
import { basic, openAccessWorld } from '../../test/harness/access-world.ts';
import { RegistryError } from '../oci/error-codes.ts';
import { tokenRoutes } from './token-routes.ts';

type Send = (path: string, init?: RequestInit) => Promise<Response>;

/** The plugin behind a real socket, in an instance whose error handler shows what reached it. */
async function withRoutes(work: (send: Send) => Promise<void>): Promise<void> {
  await using world = await openAccessWorld();
  const { tokenServer } = await world.open();
  const app = fastify({ forceCloseConnections: true });
  app.setErrorHandler((error, _request, reply) => {
    const code = error instanceof RegistryError ? error.code : 'UNKNOWN';
    return reply.code(code === 'UNAUTHORIZED' ? 401 : code === 'UNKNOWN' ? 500 : 400).send({ code });
  });
  await app.register(tokenRoutes, {
    tokenServer,
    identifyAddress: ({ ip }) => ip,
    notePrincipal: () => {},
  });
  const base = await app.listen({ host: '127.0.0.1', port: 0 });
  try {
    await work((path, init) => fetch(base + path, init));
  } finally {
    await app.close();
  }
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };

test('GET /token, Basic and repeated scopes, answers a token that nothing may keep', () =>
  withRoutes(async (send) => {
    const path = '/token?scope=repository:a:pull&scope=repository:b:pull+repository:c:push';
    const response = await send(path, { headers: { authorization: basic('root', 'rootpw') } });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('cache-control'), 'no-store');
    const { scope } = (await response.json()) as { scope: string };
    assert.equal(scope, 'repository:a:pull repository:b:pull repository:c:push');
  }));

test('POST /token, a form with charset, answers a token', () =>
  withRoutes(async (send) => {
    const body = 'grant_type=password&username=root&password=rootpw&scope=repository%3Aa%3Apull';
    const response = await send('/token', { method: 'POST', headers: FORM, body });
    assert.equal(response.status, 200);
    assert.equal(((await response.json()) as { scope: string }).scope, 'repository:a:pull');
  }));

const refused: readonly [string, RequestInit][] = [
  ['JSON', { headers: { 'content-type': 'application/json' }, body: '{}' }],
  ['a form larger than 8 KiB', { headers: FORM, body: `grant_type=password&password=${'x'.repeat(9000)}` }],
  ['an empty form', { headers: FORM, body: '' }],
  ['no body at all', {}],
];
for (const [what, init] of refused) {
  test(`POST /token, ${what}, is an invalid request`, () =>
    withRoutes(async (send) => {
      const response = await send('/token', { method: 'POST', ...init });
      assert.deepEqual([response.status, await response.json()], [400, { code: 'REQUEST_INVALID' }]);
    }));
}

test('GET /token, wrong password, is refused', () =>
  withRoutes(async (send) => {
    const response = await send('/token', { headers: { authorization: basic('root', 'x') } });
    assert.deepEqual([response.status, await response.json()], [401, { code: 'UNAUTHORIZED' }]);
  }));

test('GET /token, two Authorization headers, is an invalid request', () =>
  withRoutes(async (send) => {
    const { origin } = new URL((await send('/')).url);
    const authorization = [basic('root', 'rootpw'), basic('dev', 'devpw')];
    const status = await new Promise((resolve, reject) => {
      request(`${origin}/token`, { headers: { authorization } as never }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
    assert.equal(status, 400);
  }));

test('GET /.well-known/jwks.json, always, gives public keys only', () =>
  withRoutes(async (send) => {
    const { keys } = (await (await send('/.well-known/jwks.json')).json()) as { keys: object[] };
    assert.equal(keys.length, 1);
    assert.equal('d' in (keys[0] ?? {}), false);
  }));
