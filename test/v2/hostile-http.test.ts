import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { exchangeRaw, RawClient } from '../harness/door-world.ts';
import { expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { ADMIN, basic, OWNER, sha256 } from './v2-client.ts';

const REPOSITORY = 'ghost/http';
const AUTH = `Host: r\r\nAuthorization: ${basic(ADMIN)}\r\n`;
const CLOSE = `${AUTH}Connection: close\r\n`;

let world: WireWorld;
let image: Awaited<ReturnType<WireWorld['client']['pushImage']>>;
before(async () => {
  world = await openWireWorld({ env: { DRIFT_LIMITS_BLOB_SIZE: '64MiB', DRIFT_LIMITS_UPLOADS_OPEN: '200' } });
  image = await world.client.pushImage(REPOSITORY, 'latest');
});
after(() => world[Symbol.asyncDispose]());

const raw = (text: string): Promise<string> => exchangeRaw(world.port, text);

describe('E1, one reading of a path', () => {
  const targets = [
    '/v2/ghost/http/../http/manifests/latest',
    '/v2/ghost/./http/manifests/latest',
    '/v2/other/%2e%2e/ghost/http/manifests/latest',
    '/v2/other/.%2E/ghost/http/manifests/latest',
    '/v2/other/..%2fghost/http/manifests/latest',
    '/v2/ghost%2Fhttp/manifests/latest',
    '/v2/ghost%252Fhttp/manifests/latest',
    '/v2/ghost%5Chttp/manifests/latest',
    '/v2/ghost\\http/manifests/latest',
    '/v2//ghost/http/manifests/latest',
    '//v2/ghost/http/manifests/latest',
    '/v2/ghost/http/manifests/latest%00',
    '/v2/ghost/http/manifests/latest%0d%0aX:%20y',
    '/v2/ghost/http/manifests/%C0%AElatest',
    '/v2/ghost/http/manifests/%ff',
    '/v2/ghost/http/manifests/la%',
    '/v2/ghost/http;x=y/manifests/latest',
    '/V2/ghost/http/manifests/latest',
    '/v2/ghost/http/manifests/latest/',
    '/v2/ghost/http/manifests/latest#x',
    `/v2/${'a/'.repeat(900)}manifests/latest`,
    `/v2/${'a'.repeat(9000)}/manifests/latest`,
    '//evil/v2/ghost/http/manifests/latest',
    'http://evil/v2/ghost/http/manifests/latest',
    'http://r/v2/ghost/http/manifests/latest',
    'ghost/http/manifests/latest',
    '*',
    '?/v2/ghost/http/manifests/latest',
  ];
  for (const target of targets) {
    it(`E1 ${target.slice(0, 50)}, is 400 or 404, never the manifest`, async () => {
      const answer = await raw(`GET ${target} HTTP/1.1\r\n${CLOSE}\r\n`);
      assert.match(answer, /^HTTP\/1\.1 40[04] /);
      assert.doesNotMatch(answer, /schemaVersion/);
    });
  }

  for (const host of ['evil.example', 'r:99999', '[::1', '..', 'a@b', 'r, evil']) {
    it(`E1 Host: ${host}, changes nothing of what is routed or allowed`, async () => {
      const answer = await raw(
        `GET /v2/${REPOSITORY}/manifests/latest HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      );
      assert.match(answer, /^HTTP\/1\.1 40[01] /);
    });
  }

  it('E1 no Host or two, is 400', async () => {
    for (const hosts of ['', 'Host: a\r\nHost: b\r\n']) {
      const answer = await raw(
        `GET /v2/ HTTP/1.1\r\n${hosts}Authorization: ${basic(ADMIN)}\r\nConnection: close\r\n\r\n`,
      );
      assert.match(answer, /^HTTP\/1\.1 400 /);
    }
  });
});

describe('E2, methods', () => {
  const paths: readonly (readonly [string, string])[] = [
    ['/v2/', 'GET, HEAD'],
    ['/v2/_catalog', 'GET, HEAD'],
    [`/v2/${REPOSITORY}/tags/list`, 'GET, HEAD'],
    [`/v2/${REPOSITORY}/blobs/uploads/`, 'POST'],
    [`/v2/${REPOSITORY}/blobs/${sha256('x')}`, 'GET, HEAD, DELETE'],
    [`/v2/${REPOSITORY}/manifests/latest`, 'GET, HEAD, PUT, DELETE'],
    [`/v2/${REPOSITORY}/referrers/${sha256('x')}`, 'GET, HEAD'],
  ];
  for (const [path, allow] of paths) {
    it(`E2 ${path.slice(0, 40)}, for methods it does not have, is 405 with Allow; without credentials 401`, async () => {
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        if (allow.split(', ').includes(method)) continue;
        await expectAnswer(world.client.send(method, path), { status: 405, allow });
        await expectAnswer(world.client.send(method, path, { as: null }), { status: 401 });
      }
    });
  }

  it('E2 TRACE, is 405 and echoes nothing; override headers and parameters are not heard', async () => {
    const trace = await raw(`TRACE /v2/ HTTP/1.1\r\n${CLOSE}X-Echo: secret\r\n\r\n`);
    assert.match(trace, /^HTTP\/1\.1 405 /);
    assert.doesNotMatch(trace, /secret/);
    for (const name of ['x-http-method-override', 'x-http-method', 'x-method-override']) {
      const path = `/v2/${REPOSITORY}/manifests/latest?_method=DELETE`;
      await expectAnswer(world.client.send('GET', path, { headers: { [name]: 'DELETE' } }), { status: 200 });
    }
    await expectAnswer(world.client.send('HEAD', `/v2/${REPOSITORY}/manifests/latest`), { status: 200 });
  });
});

describe('E4 and section 4, limits and transport', () => {
  it('section 4: crane tries TLS first: its hello on the plain port is answered at once and is no fault of ours', async () => {
    const from = world.logs.length;
    const hello = Buffer.from('16030100c5010000c10303', 'hex');
    const client = await RawClient.open(world.port);
    client.send(Buffer.concat([hello, Buffer.alloc(195, 0x41)]));
    assert.match(await client.untilClosed(), /^(?:HTTP\/1\.1 400 |$)/);
    const levels = world.logs.slice(from).map((line) => (JSON.parse(line) as { level: number }).level);
    assert.ok(levels.every((level) => level <= 30));
  });

  it('section 4: HTTP/1.0, without Host, is served and closed', async () => {
    const answer = await raw(`GET /v2/ HTTP/1.0\r\nAuthorization: ${basic(ADMIN)}\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 200 [^]*\{\}$/);
  });

  it('E4 range bombs, tiny or overlapping, are 400 before a byte is read', async () => {
    const path = `/v2/${REPOSITORY}/blobs/${image.layer}`;
    const many = Array.from({ length: 5000 }, () => '0-0').join(',');
    for (const range of [`bytes=${many}`, 'bytes=0-1,0-1', 'bytes=0-,1-,2-']) {
      await expectAnswer(world.client.send('GET', path, { headers: { range } }), { status: 400 });
    }
  });

  it('E4 a length beyond the limit, is 413 before the body and before 100 Continue', async () => {
    const location = await world.client.startUpload(REPOSITORY);
    const client = await RawClient.open(world.port);
    client.send(
      `PATCH ${location} HTTP/1.1\r\n${AUTH}Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n`,
    );
    assert.match(await client.until(/"errors"/), /^HTTP\/1\.1 413 /);
    client.close();
  });

  it('section 4: curl with Expect, without credentials 401 and with them 100, before it sends the body', async () => {
    const bytes = 'expected';
    const location = await world.client.startUpload(REPOSITORY);
    const path = `${location}?digest=${sha256(bytes).replace(':', '%3A')}`;
    const head = `Content-Length: ${bytes.length}\r\nExpect: 100-continue\r\n\r\n`;
    const refused = await RawClient.open(world.port);
    refused.send(`PUT ${path} HTTP/1.1\r\nHost: r\r\n${head}`);
    assert.match(await refused.until(/"UNAUTHORIZED"/), /^HTTP\/1\.1 401 /);
    refused.close();
    const client = await RawClient.open(world.port);
    client.send(`PUT ${path} HTTP/1.1\r\n${CLOSE}${head}`);
    await client.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/);
    client.send(bytes);
    assert.match(await client.untilClosed(), /HTTP\/1\.1 201 /);
  });

  it('section 4: two Content-Range headers, joined by a comma, are 400 and move nothing', async () => {
    const location = await world.client.startUpload(REPOSITORY);
    const answer = await raw(
      `PATCH ${location} HTTP/1.1\r\n${CLOSE}Content-Range: 0-2\r\nContent-Range: 0-2\r\nContent-Length: 3\r\n\r\nabc`,
    );
    assert.match(answer, /^HTTP\/1\.1 400 /);
    await expectAnswer(world.client.send('GET', location), { status: 204, range: '0-0' });
  });

  it('section 4: connections are kept for longer than proxies keep theirs', async () => {
    const client = await RawClient.open(world.port);
    client.send(`GET /v2/ HTTP/1.1\r\n${AUTH}\r\n`);
    const [, seconds] = /Keep-Alive: timeout=(\d+)/.exec(await client.until(/\{\}$/)) ?? [];
    assert.ok(Number(seconds) >= 75, `timeout=${seconds}`);
    client.close();
  });

  const numbers = [
    '1e99',
    '-1',
    '0x10',
    '1.5',
    '',
    ' 1',
    '1 ',
    '+1',
    'NaN',
    '١',
    '99999999999999999999999',
    '1,2',
  ];
  for (const n of numbers) {
    it(`E6 n=${n}, on tags, catalog and referrers, is refused`, async () => {
      const query = `?n=${encodeURIComponent(n)}`;
      for (const path of ['_catalog', `${REPOSITORY}/tags/list`, `${REPOSITORY}/referrers/${image.digest}`]) {
        await expectAnswer(world.client.send('GET', `/v2/${path}${query}`), { status: 400 });
      }
    });
  }

  it('E6 n of a thousand million, on tags, catalog and referrers, is cut down and answered', async () => {
    for (const path of ['_catalog', `${REPOSITORY}/tags/list`, `${REPOSITORY}/referrers/${image.digest}`]) {
      await expectAnswer(world.client.send('GET', `/v2/${path}?n=1000000000`), { status: 200 });
    }
  });

  it('E7 bodies of manifests and forms, beyond their limit, are refused whether their length was told or not', async () => {
    const huge = Buffer.alloc(4 * 1024 * 1024 + 1, 0x20);
    for (const body of [huge, [huge]]) {
      const path = `/v2/${REPOSITORY}/manifests/huge`;
      await expectAnswer(world.client.send('PUT', path, { body }), { status: 413 });
    }
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    for (const body of [Buffer.alloc(100_000, 0x61), [Buffer.alloc(100_000, 0x61)]]) {
      const answer = await world.client.send('POST', '/token', { as: null, headers: form, body });
      assert.ok(answer.status === 400 || answer.status === 413, `${answer.status}`);
    }
    const json = { 'content-type': 'application/json' };
    const answer = await world.client.send('POST', '/token', { as: null, headers: json, body: '{' });
    assert.ok(answer.status >= 400 && answer.status < 500);
  });
});

describe('E8, E11 and E12, what goes out', () => {
  it('E9 the page of the console, asked with a Host or path that is markup, holds none of it unescaped', async () => {
    const port = Number(new URL(world.registry.consoleUrl).port);
    for (const [target, host] of [
      ['/', '"><script>alert(1)</script>'],
      ['/', "r'onload='alert(1)"],
      ['/<script>alert(1)</script>', 'r'],
      ['/?x=<script>alert(1)</script>', 'r'],
    ]) {
      const answer = await exchangeRaw(
        port,
        `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      );
      assert.match(answer, /^HTTP\/1\.1 [24]\d\d /);
      assert.doesNotMatch(answer, /<script>alert|'onload='/);
      assert.match(answer, /X-Content-Type-Options: nosniff/i);
    }
  });

  it('E8 no answer allows other origins, and a cookie is no credential', async () => {
    const headers = { origin: 'https://evil.example', cookie: `session=${basic(OWNER)}` };
    for (const path of ['/v2/', `/v2/${REPOSITORY}/manifests/latest`, '/token', '/healthz']) {
      for (const as of [null, ADMIN]) {
        const answer = await world.client.send('GET', path, { as, headers });
        assert.equal(answer.headers['access-control-allow-origin'], undefined);
        if (as === null && path.startsWith('/v2/')) assert.equal(answer.status, 401);
      }
    }
  });

  it('E11 control characters and long texts of a client, are escaped and cut in the log, and no secret is in it', async () => {
    const from = world.logs.length;
    const evil = `\x1b[31m${'A'.repeat(5000)}\u2028`;
    await raw(
      `GET /v2/${REPOSITORY}/manifests/latest%0a{"level":"forged"} HTTP/1.1\r\n${CLOSE}User-Agent: ${evil}\r\nX-Request-Id: a\tb\r\n\r\n`,
    );
    await raw(`GET /v2/${'%1b%5b31m'.repeat(100)} HTTP/1.1\r\n${CLOSE}\r\n`);
    const forged = basic({ name: 'forged\n{"level":"error"}', password: 'hunter2-secret' });
    await world.client.send('GET', '/v2/', { as: null, headers: { authorization: forged } });
    const token = await world.token(OWNER, `repository:${REPOSITORY}:pull`);
    await world.client.send('GET', `/v2/?access_token=${token}&password=hunter2-secret`, { as: null });
    const lines = world.logs.slice(from);
    assert.ok(lines.length >= 4);
    for (const line of lines) {
      assert.match(line, /^\{[^\n]*\}\n?$/);
      assert.doesNotMatch(line.trimEnd(), /\p{Cc}|\u2028/u);
      assert.ok(line.length < 4000, `${line.length}`);
      assert.equal((JSON.parse(line) as { level: unknown }).level === 'forged', false);
    }
    const all = lines.join('');
    for (const secret of ['hunter2-secret', token, basic(ADMIN).slice(6), forged.slice(6)]) {
      assert.equal(all.includes(secret), false);
    }
  });

  it('E12 labels of metrics, after requests of many names, hold none of them and do not multiply', async () => {
    const seriesOf = async (): Promise<string[]> => {
      const text = await (await fetch(`${world.registry.registryUrl}/metrics`)).text();
      return text
        .split('\n')
        .filter((line) => line.startsWith('drift_'))
        .map((line) => line.slice(0, line.lastIndexOf(' ')));
    };
    const ask = async (each: number): Promise<void> => {
      const name = `unheard-of-${each}`;
      await world.client.send('GET', `/v2/${name}/manifests/${name}`);
      await world.client.send('GET', `/v2/${name}/${name}/${name}`);
      await world.client.send('GET', `/${name}`, { as: null });
      await raw(`UNHEARD${each} /v2/ HTTP/1.1\r\n${CLOSE}\r\n`);
      await raw(`PROPFIND /v2/${name}/tags/list HTTP/1.1\r\n${CLOSE}\r\n`);
      await world.client.send('GET', '/v2/', { as: { name, password: name } });
    };
    await seriesOf();
    await ask(0);
    const first = await seriesOf();
    for (let each = 1; each < 6; each++) await ask(each);
    const last = await seriesOf();
    assert.deepEqual(last, first);
    assert.doesNotMatch(last.join('\n'), /unheard-of|ghost\/http|UNHEARD|PROPFIND|admin/);
  });
});
