import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchangeRaw, openDoor } from '../../test/harness/door-world.ts';
import { renderWelcomePage } from './welcome-page.ts';

interface ErrorBody {
  readonly errors: readonly { readonly code: string; readonly message: string }[];
}

for (const listener of ['port', 'consolePort'] as const) {
  test(`ops routes, on the listener of ${listener}, answer probes and scrapers`, async () => {
    await using world = await openDoor();
    const get = (path: string) => fetch(`http://127.0.0.1:${world[listener]}${path}`);
    assert.equal((await get('/healthz')).status, 200);
    assert.match(await (await get('/health')).text(), /"OK"/);
    assert.deepEqual(await (await get('/readyz')).json(), { status: 'ready', parts: [] });
    assert.deepEqual(await (await get('/version')).json(), { name: 'drift', version: '1.2.3' });
    const metrics = await get('/metrics');
    assert.match(metrics.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
    assert.equal(await metrics.text(), 'up 1\n');
  });
}

test('readyz, a part that is not ready, is 503 and names it', async () => {
  const parts = [{ name: 'blob store', ok: false, message: 'cannot be written to' }] as const;
  await using world = await openDoor({ readiness: { ok: false, parts } });
  const answer = await fetch(`http://127.0.0.1:${world.port}/readyz`);
  assert.equal(answer.status, 503);
  assert.deepEqual(await answer.json(), { status: 'not ready', parts });
});

test('fastify, a path that cannot be decoded, is 400 in the form of every error and echoes nothing', async () => {
  await using world = await openDoor();
  const answer = await exchangeRaw(
    world.port,
    'GET /%?password=secret HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n',
  );
  assert.match(answer, /^HTTP\/1\.1 400 /);
  assert.match(answer, /\{"errors":\[\{"code":"UNSUPPORTED",/);
  assert.doesNotMatch(answer, /secret/);
  assert.equal(world.lines.length, 1);
});

test('fastify, an unknown path, is 404 in the form of every error and logged once with a bounded route', async () => {
  await using world = await openDoor();
  const answer = await fetch(`http://127.0.0.1:${world.port}/no/such/path?secret=1`);
  assert.equal(answer.status, 404);
  assert.equal(((await answer.json()) as ErrorBody).errors[0]?.code, 'UNSUPPORTED');
  assert.ok(answer.headers.get('x-request-id'));
  assert.equal(world.lines.length, 1);
  assert.equal(world.lines[0]?.path, '/no/such/path');
  assert.equal(world.samples[0]?.route, 'other');
});

test('welcome page, on the console listener, names the registry and runs nothing', async () => {
  await using world = await openDoor({ server: { bind: { host: '127.0.0.1', port: 0 } } });
  const page = await fetch(`http://127.0.0.1:${world.consolePort}/`, {
    headers: { 'X-Forwarded-Host': 'registry.example.com', 'X-Forwarded-Proto': 'https' },
  });
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-security-policy') ?? '', /^default-src 'none'; style-src 'sha256-/);
  const html = await page.text();
  assert.match(html, /docker login registry\.example\.com</);
  assert.match(html, /version 1\.2\.3/);
  assert.doesNotMatch(html, /<script/);
});

test('welcome page, on the registry listener, is not served', async () => {
  await using world = await openDoor();
  assert.equal((await fetch(`http://127.0.0.1:${world.port}/`)).status, 404);
});

test('renderWelcomePage, a host with markup, is escaped', () => {
  const html = renderWelcomePage({ registryUrl: 'http://<b>&"', version: '1<2' });
  assert.doesNotMatch(html, /<b>|1<2/);
  assert.match(html, /&lt;b&gt;&amp;&quot;/);
});
