import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { exchangeRaw, openDoor, RawClient, TEXT_REPLY, WatchedBody } from '../../test/harness/door-world.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { Call, Reply } from './call.ts';

const AUTH = 'Host: r\r\nAuthorization: Bearer ok\r\n';
const CLOSE = `${AUTH}Connection: close\r\n`;

async function readAll(call: Call): Promise<Reply> {
  let bytes = 0;
  for await (const chunk of call.body.chunks) bytes += chunk.length;
  return { status: 201, headers: {}, body: { kind: 'json', value: { bytes } } };
}

for (const target of [
  '//evil/v2/',
  '/v2/../x',
  '/v2//a',
  '/v2/a%2Fb',
  '/v2/%2e%2e/a',
  '/v2/a%00',
  '/v2/a\\b',
  '/v2/%ff',
  'http://evil/v2/',
  `/v2/${'a'.repeat(5000)}`,
]) {
  test(`door, target ${target.slice(0, 30)}, is 400 in the registry's own form`, async () => {
    await using world = await openDoor();
    const answer = await exchangeRaw(world.port, `GET ${target} HTTP/1.1\r\n${CLOSE}\r\n`);
    assert.match(answer, /^HTTP\/1\.1 400 /);
    assert.match(answer, /"errors":\[\{"code":"UNSUPPORTED"/);
    assert.equal(world.lines.length, 1);
  });
}

test('door, a caller without credentials on any /v2 path, is challenged and gets the headers of every answer', async () => {
  await using world = await openDoor({ extraScope: 'repository:b:pull' });
  const answer = await exchangeRaw(
    world.port,
    'GET /v2/x HTTP/1.1\r\nHost: r:1\r\nConnection: close\r\n\r\n',
  );
  assert.match(answer, /^HTTP\/1\.1 401 /);
  assert.match(
    answer,
    /WWW-Authenticate: Bearer realm="http:\/\/r:1\/token",service="drift.test",scope="repository:a:pull repository:b:pull"\r\n/,
  );
  assert.match(answer, /Docker-Distribution-Api-Version: registry\/2\.0\r\n/);
  assert.match(answer, /X-Content-Type-Options: nosniff\r\n/);
  assert.match(answer, /X-Request-Id: [0-9a-f-]{36}\r\n/);
});

test('door, two Authorization lines, reach the guard as two', async () => {
  await using world = await openDoor();
  const answer = await exchangeRaw(
    world.port,
    `GET /v2/ HTTP/1.1\r\n${CLOSE}Authorization: Bearer ok\r\n\r\n`,
  );
  assert.match(answer, /^HTTP\/1\.1 401 /);
});

test('door, a request id of the client, is taken when it is a safe token and replaced otherwise', async () => {
  await using world = await openDoor();
  const get = (id: string) =>
    exchangeRaw(world.port, `GET /v2/ HTTP/1.1\r\n${CLOSE}X-Request-Id: ${id}\r\n\r\n`);
  assert.match(await get('trace-0123456789'), /X-Request-Id: trace-0123456789\r\n/);
  assert.doesNotMatch(await get('a"} injected'), /injected/);
});

test('door, two length headers, are refused by the parser and close the connection', async () => {
  await using world = await openDoor({ handle: readAll });
  const head = `POST /v2/a HTTP/1.1\r\n${AUTH}`;
  for (const headers of [
    'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
    'Content-Length: 5\r\nContent-Length: 6\r\n',
    'Transfer-Encoding: chunked, identity\r\n',
  ]) {
    const answer = await exchangeRaw(
      world.port,
      `${head}${headers}\r\n0\r\n\r\nGET /v2/ HTTP/1.1\r\n${AUTH}\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 400 /);
    assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1, answer);
  }
});

test('door, headers beyond the limit, are 431', async () => {
  await using world = await openDoor();
  const answer = await exchangeRaw(
    world.port,
    `GET /v2/ HTTP/1.1\r\n${AUTH}X: ${'a'.repeat(40_000)}\r\n\r\n`,
  );
  assert.match(answer, /^HTTP\/1\.1 431 /);
});

test('door, pipelined requests, are answered in order on one connection', async () => {
  await using world = await openDoor({
    handle: async (call) => ({ ...TEXT_REPLY, body: { kind: 'bytes', bytes: Buffer.from(call.path) } }),
  });
  const requests = ['/v2/1', '/v2/2', '/v2/3'].map((path) => `GET ${path} HTTP/1.1\r\n${AUTH}\r\n`).join('');
  const answer = await exchangeRaw(world.port, `${requests}GET /v2/4 HTTP/1.1\r\n${CLOSE}\r\n`);
  assert.deepEqual(answer.match(/^\/v2\/\d/gm), ['/v2/1', '/v2/2', '/v2/3', '/v2/4']);
  assert.equal(world.lines.length, 4);
});

for (const kind of ['blob', 'ranges', 'broken blob'] as const) {
  test(`door, a ${kind} that is ready before the answer that it was pipelined behind, waits for its turn`, async () => {
    const first = Promise.withResolvers<void>();
    const second = Promise.withResolvers<void>();
    const open = async () => new WatchedBody(5, Readable.from([Buffer.from('hello')]));
    await using world = await openDoor({
      handle: async ({ path }) => {
        if (path === '/v2/first') {
          await first.promise;
          return TEXT_REPLY;
        }
        // Most of what goes wrong with a reply out of turn goes wrong before the next turn of the loop.
        setImmediate(() => second.resolve());
        const ranges = [{ start: 0, end: 4 }];
        if (kind === 'ranges') {
          return {
            status: 206,
            headers: {},
            body: { kind, mediaType: 'a/b', sizeBytes: 5, ranges, open },
          };
        }
        const sizeBytes = kind === 'blob' ? 5 : 6;
        return { status: 206, headers: {}, body: { kind: 'blob', sizeBytes, body: await open() } };
      },
    });
    const client = await RawClient.open(world.port);
    client.send(`GET /v2/first HTTP/1.1\r\n${AUTH}\r\nGET /v2/second HTTP/1.1\r\n${AUTH}\r\n`);
    client.send(`GET /v2/first HTTP/1.1\r\n${CLOSE}\r\n`);
    await second.promise;
    first.resolve();
    const answer = await client.untilClosed();
    assert.match(answer, /^HTTP\/1\.1 200 [^]*?\r\n\r\nhello/);
    // What breaks in the middle takes its connection with it, like one that is alone.
    const whole = /^HTTP\/1\.1 200 [^]*helloHTTP\/1\.1 206 [^]*\r\n\r\n[^]*hello[^]*HTTP\/1\.1 200 /;
    assert.equal(whole.test(answer), kind !== 'broken blob', answer);
  });
}

for (const [what, bytes, last] of [
  ['no HTTP', 'x\r\n\r\n', 400],
  [
    'a body that breaks off as invalid HTTP',
    `PATCH /v2/a HTTP/1.1\r\n${AUTH}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
    400,
  ],
  ['headers beyond the limit', `GET /v2/ HTTP/1.1\r\n${AUTH}X: ${'a'.repeat(40_000)}\r\n\r\n`, 431],
  ['CONNECT', 'CONNECT evil:443 HTTP/1.1\r\nHost: evil\r\n\r\n', 405],
] as const) {
  test(`door, ${what} behind requests that are not answered yet, is refused after their answers`, async () => {
    const gate = Promise.withResolvers<void>();
    await using world = await openDoor({
      handle: async (call) => {
        if (call.method === 'PATCH') return await readAll(call);
        if (call.path === '/v2/slow') await gate.promise;
        return { status: 200, headers: {}, body: { kind: 'bytes', bytes: Buffer.from(`${call.path};`) } };
      },
    });
    const client = await RawClient.open(world.port);
    const earlier = ['/v2/slow', '/v2/1', '/v2/2'].map((path) => `GET ${path} HTTP/1.1\r\n${AUTH}\r\n`);
    client.send(earlier.join('') + bytes);
    // Another connection's answer comes after what the server makes of the first one's bytes.
    await exchangeRaw(world.port, `GET /v2/ HTTP/1.1\r\n${CLOSE}\r\n`);
    gate.resolve();
    const answer = await client.untilClosed();
    assert.deepEqual(answer.match(/(?<=HTTP\/1\.1 )\d+|\/v2\/\w+;/g), [
      '200',
      '/v2/slow;',
      '200',
      '/v2/1;',
      '200',
      '/v2/2;',
      String(last),
    ]);
  });
}

test('door, a client that leaves before the turn of a blob, closes the blob', async () => {
  const left = Promise.withResolvers<void>();
  const body = new WatchedBody(5, Readable.from([Buffer.from('hello')]));
  await using world = await openDoor({
    handle: async ({ path }) => {
      if (path === '/v2/first') return await left.promise.then(() => TEXT_REPLY);
      setImmediate(() => client.close());
      return { status: 200, headers: {}, body: { kind: 'blob', sizeBytes: 5, body } };
    },
  });
  const client = await RawClient.open(world.port);
  client.send(`GET /v2/first HTTP/1.1\r\n${AUTH}\r\nGET /v2/second HTTP/1.1\r\n${CLOSE}\r\n`);
  await body.closed;
  left.resolve();
});

for (const method of ['TRACE', 'PROPFIND', 'CONNECT']) {
  test(`door, ${method}, is 405 and closes`, async () => {
    await using world = await openDoor();
    const target = method === 'CONNECT' ? 'evil:443' : '/v2/';
    assert.match(
      await exchangeRaw(world.port, `${method} ${target} HTTP/1.1\r\n${AUTH}\r\n`),
      /^HTTP\/1\.1 405 /,
    );
  });
}

test('door, a request behind an upgrade in one packet, does not wait for ever: the connection closes', async () => {
  await using world = await openDoor();
  const upgrade = 'Connection: Upgrade\r\nUpgrade: h2c\r\n';
  const answer = await exchangeRaw(
    world.port,
    `GET /v2/ HTTP/1.1\r\n${AUTH}${upgrade}\r\nGET /v2/ HTTP/1.1\r\n${AUTH}\r\n`,
  );
  assert.match(answer, /^HTTP\/1\.1 200 [^]*\r\nConnection: close\r\n/);
});

test('door, CONNECT behind a request whose answer closes the connection, harms nobody else', async () => {
  await using world = await openDoor();
  const closing = `GET /v2/ HTTP/1.1\r\n${AUTH}Upgrade: h2c\r\n\r\n`;
  // Several reads: the tunnel must arrive between the end of the answer and that of the socket.
  const filler = `GET /v2/ HTTP/1.1\r\n${AUTH}X: ${'x'.repeat(7000)}\r\n\r\n`;
  const tunnel = 'CONNECT evil:443 HTTP/1.1\r\nHost: evil\r\n\r\n';
  for (let fillers = 0; fillers < 60; fillers++) {
    await exchangeRaw(world.port, closing + filler.repeat(fillers) + tunnel);
  }
  assert.match(await exchangeRaw(world.port, `GET /v2/ HTTP/1.1\r\n${CLOSE}\r\n`), /^HTTP\/1\.1 200 /);
});

test('door, a client of CONNECT that never closes its side, does not keep its connection', async () => {
  await using world = await openDoor();
  const socket = connect({ port: world.port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {}).resume();
  socket.write('CONNECT evil:443 HTTP/1.1\r\nHost: evil\r\n\r\n');
  await once(socket, 'end');
  while (world.listeners.connections.total > 0) await sleep(20);
  socket.destroy();
});

test('door, an upgrade, is answered as if it had not been asked for', async () => {
  await using world = await openDoor();
  const upgrade = 'Connection: Upgrade, close\r\nUpgrade: h2c\r\n';
  assert.match(
    await exchangeRaw(world.port, `GET /v2/ HTTP/1.1\r\n${AUTH}${upgrade}\r\n`),
    /^HTTP\/1\.1 200 /,
  );
});

test('door, Expect with a body that is wanted, sends 100 on the first read and takes the body', async () => {
  await using world = await openDoor({ handle: readAll });
  const client = await RawClient.open(world.port);
  client.send(`PUT /v2/a HTTP/1.1\r\n${CLOSE}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`);
  await client.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/);
  client.send('12345');
  assert.match(await client.untilClosed(), /HTTP\/1\.1 201 [^]*\{"bytes":5\}$/);
  assert.equal(world.samples[0]?.bytesIn, 5);
});

test('door, Expect without credentials, is 401 without 100 and closes', async () => {
  await using world = await openDoor({ handle: readAll });
  const client = await RawClient.open(world.port);
  client.send('PUT /v2/a HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n');
  const answer = await client.until(/"UNAUTHORIZED"/);
  assert.match(answer, /^HTTP\/1\.1 401 /);
  assert.match(answer, /Connection: close\r\n/);
  client.socket.end();
  await client.untilClosed();
});

test('door, a large body refused early, lets the client send on and read the answer', async () => {
  const tooLarge = async () => {
    throw new RegistryError('BLOB_TOO_LARGE');
  };
  await using world = await openDoor({ handle: tooLarge });
  const size = 8 * 1024 * 1024;
  const client = await RawClient.open(world.port);
  client.send(`PUT /v2/a HTTP/1.1\r\n${AUTH}Content-Length: ${size}\r\n\r\n`);
  await client.until(/"SIZE_INVALID"/);
  const piece = Buffer.alloc(256 * 1024);
  for (let sent = 0; sent < size; sent += piece.length) {
    if (!client.socket.write(piece)) await once(client.socket, 'drain');
  }
  const answer = await client.untilClosed();
  assert.match(answer, /^HTTP\/1\.1 413 /);
  assert.equal(client.socket.errored, null);
});

test('door, a chunked body, is read whole and counted without its framing', async () => {
  await using world = await openDoor({ handle: readAll });
  const head = `PATCH /v2/a HTTP/1.1\r\n${CLOSE}Transfer-Encoding: chunked\r\n\r\n`;
  const answer = await exchangeRaw(world.port, `${head}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`);
  assert.match(answer, /\{"bytes":11\}$/);
});

test('door, a chunked body that breaks off as invalid HTTP, is 400 once and logged once', async () => {
  await using world = await openDoor({ handle: readAll });
  const head = `PATCH /v2/a HTTP/1.1\r\n${AUTH}Transfer-Encoding: chunked\r\n\r\n`;
  const answer = await exchangeRaw(world.port, `${head}5\r\nhello\r\nzz\r\n`);
  assert.match(answer, /^HTTP\/1\.1 400 /);
  assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1);
  await new Promise(setImmediate);
  assert.deepEqual(
    world.lines.map(({ status }) => status),
    [400],
  );
});

test('door, a body that stops arriving, is 408 and aborts the signal', async () => {
  const aborted: unknown[] = [];
  await using world = await openDoor({
    limits: { bodyIdleSecondsMax: 0.1 },
    handle: (call) => {
      call.signal.addEventListener('abort', () => aborted.push(call.signal.reason));
      return readAll(call);
    },
  });
  const client = await RawClient.open(world.port);
  client.send(`PUT /v2/a HTTP/1.1\r\n${AUTH}Content-Length: 50\r\n\r\nabc`);
  assert.match(await client.until(/stopped arriving/), /^HTTP\/1\.1 408 /);
  client.close();
  assert.equal((aborted[0] as RegistryError).code, 'REQUEST_TIMEOUT');
});

test('door, a body that only trickles, is 408 like one that stopped', async () => {
  await using world = await openDoor({ limits: { bodyIdleSecondsMax: 0.2 }, handle: readAll });
  const client = await RawClient.open(world.port);
  client.send(`PUT /v2/a HTTP/1.1\r\n${AUTH}Content-Length: 100000\r\n\r\n`);
  const trickle = setInterval(() => client.send('x'), 20);
  assert.match(await client.until(/stopped arriving/), /^HTTP\/1\.1 408 /);
  clearInterval(trickle);
  client.close();
});

test('door, a consumer slower than the idle limit, is not taken for a client that stopped', async () => {
  await using world = await openDoor({
    limits: { bodyIdleSecondsMax: 0.1 },
    handle: async (call) => {
      let bytes = 0;
      for await (const chunk of call.body.chunks) {
        if (bytes === 0) await sleep(350);
        bytes += chunk.length;
      }
      return { status: 201, headers: {}, body: { kind: 'json', value: { bytes } } };
    },
  });
  const size = 4 * 1024 * 1024;
  const client = await RawClient.open(world.port);
  client.send(`PUT /v2/a HTTP/1.1\r\n${CLOSE}Content-Length: ${size}\r\n\r\n`);
  client.send(Buffer.alloc(size));
  assert.match(await client.untilClosed(), new RegExp(`^HTTP/1.1 201 [^]*{"bytes":${size}}$`));
});

test('door, a client that leaves during its body, ends the read and is logged as gone', async () => {
  const entered = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<unknown>();
  await using world = await openDoor({
    handle: (call) => {
      entered.resolve();
      return readAll(call).catch((error: unknown) => {
        ended.resolve(error);
        throw error;
      });
    },
  });
  const client = await RawClient.open(world.port);
  client.send(`PUT /v2/a HTTP/1.1\r\n${AUTH}Content-Length: 50\r\n\r\nabc`);
  await entered.promise;
  client.close();
  assert.equal(((await ended.promise) as Error).name, 'AbortError');
  await new Promise(setImmediate);
  assert.equal(world.lines[0]?.status, 499);
});

test('door, a client that leaves during a blob, closes the blob at once', async () => {
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) yield Buffer.alloc(64 * 1024);
  }
  const body = new WatchedBody(2 ** 40, endless());
  await using world = await openDoor({
    handle: async () => ({ status: 200, headers: {}, body: { kind: 'blob', sizeBytes: 2 ** 40, body } }),
  });
  const client = await RawClient.open(world.port);
  client.send(`GET /v2/a HTTP/1.1\r\n${AUTH}\r\n`);
  await client.until(/^HTTP\/1\.1 200 /);
  client.close();
  await body.closed;
});

test('door, a reader that takes nothing, is cut off after the idle limit', async () => {
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) yield Buffer.alloc(64 * 1024);
  }
  const body = new WatchedBody(2 ** 40, endless());
  await using world = await openDoor({
    limits: { bodyIdleSecondsMax: 0.2 },
    handle: async () => ({ status: 200, headers: {}, body: { kind: 'blob', sizeBytes: 2 ** 40, body } }),
  });
  const client = await RawClient.open(world.port);
  client.socket.pause();
  client.send(`GET /v2/a HTTP/1.1\r\n${AUTH}\r\n`);
  await body.closed;
  client.close();
});

test('door, the /v2 of the console listener, is 404 and says where the registry is', async () => {
  await using world = await openDoor();
  const answer = await exchangeRaw(world.consolePort, `GET /v2/ HTTP/1.1\r\n${CLOSE}\r\n`);
  assert.match(answer, /^HTTP\/1\.1 404 [^]*this is the console: the registry is at port/);
});

test('door, /v1, is a quick 404', async () => {
  await using world = await openDoor();
  assert.match(
    await exchangeRaw(world.port, `GET /v1/search?q=a HTTP/1.1\r\n${CLOSE}\r\n`),
    /^HTTP\/1\.1 404 /,
  );
});

test('door, an unexpected error, is 500 without its text and logged with it', async () => {
  const broken = async () => {
    throw new TypeError('secret-internal');
  };
  await using world = await openDoor({ handle: broken });
  const answer = await exchangeRaw(world.port, `GET /v2/a?token=hidden HTTP/1.1\r\n${CLOSE}\r\n`);
  assert.match(answer, /^HTTP\/1\.1 500 /);
  assert.doesNotMatch(answer, /secret-internal/);
  const [line] = world.lines;
  assert.match(JSON.stringify(line?.err), /secret-internal/);
  assert.equal(line?.principal, 'ann');
  assert.equal(line?.route, 'v2_test');
  assert.doesNotMatch(JSON.stringify(line), /hidden|Bearer/);
});

test('drain, a running request, is answered first and then its connection closes', async () => {
  const gate = Promise.withResolvers<void>();
  const entered = Promise.withResolvers<void>();
  await using world = await openDoor({
    handle: async () => {
      entered.resolve();
      await gate.promise;
      return TEXT_REPLY;
    },
  });
  const client = await RawClient.open(world.port);
  client.send(`GET /v2/ HTTP/1.1\r\n${AUTH}\r\n`);
  await entered.promise;
  const drained = world.listeners.drain(5000);
  gate.resolve();
  const answer = await client.untilClosed();
  assert.match(answer, /^HTTP\/1\.1 200 [^]*Connection: close\r\n[^]*hello$/);
  await drained;
});

test('drain, a request that does not end in time, is aborted and answered 503', async () => {
  const entered = Promise.withResolvers<void>();
  await using world = await openDoor({
    handle: (call) =>
      new Promise((_resolve, reject) => {
        call.signal.addEventListener('abort', () => reject(call.signal.reason as Error));
        entered.resolve();
      }),
  });
  const client = await RawClient.open(world.port);
  client.send(`GET /v2/ HTTP/1.1\r\n${AUTH}\r\n`);
  await entered.promise;
  await world.listeners.drain(20);
  assert.match(await client.untilClosed(), /^HTTP\/1\.1 503 [^]*Retry-After: 5\r\n/);
});

test('connection limit, one more than allowed, is reset while the others go on', async () => {
  await using world = await openDoor({ limits: { connectionsMax: 1 } });
  const first = await RawClient.open(world.port);
  // The reset may come before `connect` has been reported or after.
  const second = await RawClient.open(world.port).catch(() => null);
  assert.equal((await second?.untilClosed()) ?? '', '');
  first.send(`GET /v2/ HTTP/1.1\r\n${CLOSE}\r\n`);
  assert.match(await first.untilClosed(), /^HTTP\/1\.1 200 /);
  assert.ok(world.lines.some(({ msg }) => msg === 'connections over the limit refused'));
});
