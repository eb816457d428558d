import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer as createTcp } from 'node:net';
import { after, before, describe, it } from 'node:test';
import {
  type Fault,
  type FaultProxy,
  INTERNAL_ERROR,
  SLOW_DOWN,
  startFaultProxy,
  UNAVAILABLE,
} from '../harness/fault-proxy.ts';

const BODY = 'x'.repeat(1_000_000);
const PATIENCE_MILLISECONDS = 200;
/** Of four bodies a second; a timer may fire a moment too early. */
const QUARTER_MILLISECONDS = 240;

describe('a fault proxy in front of HTTP', () => {
  const seen: { method: string; path: string; body: number }[] = [];
  const service = createServer((message, response) => {
    // A request that is cut is none.
    serve(message, response).catch(() => {});
  });
  let proxy: FaultProxy;
  const url = (path = '/') => `http://127.0.0.1:${proxy.port}${path}`;

  async function serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = 0;
    message.on('error', () => {});
    for await (const piece of message as AsyncIterable<Buffer>) body += piece.length;
    seen.push({ method: message.method ?? '', path: message.url ?? '', body });
    response.setHeader('content-length', BODY.length);
    response.end(BODY);
  }

  before(async () => {
    await once(service.listen(0, '127.0.0.1'), 'listening');
    const { port } = service.address() as AddressInfo;
    proxy = await startFaultProxy({ targetPort: port, protocol: 'http' });
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    service.closeAllConnections();
    service.close();
  });

  const get = async (path?: string): Promise<string> => (await fetch(url(path))).text();
  const isCut = { name: 'TypeError' };

  it('pass: bytes go both ways unchanged', async () => {
    await proxy.set({ kind: 'pass' });
    seen.length = 0;
    const answer = await fetch(url('/a?b=c'), { method: 'PUT', body: BODY });
    assert.equal(await answer.text(), BODY);
    assert.deepEqual(seen, [{ method: 'PUT', path: '/a?b=c', body: BODY.length }]);
  });

  it('refuse: a connection is refused, until it passes again', async () => {
    await proxy.set({ kind: 'refuse' });
    await assert.rejects(get(), (error: Error) => (error.cause as { code: string }).code === 'ECONNREFUSED');
    await proxy.set({ kind: 'pass' });
    assert.equal(await get(), BODY);
  });

  it('hang: nothing is answered, until it passes again', async () => {
    await proxy.set({ kind: 'hang' });
    const answer = get();
    const signal = AbortSignal.timeout(PATIENCE_MILLISECONDS);
    await assert.rejects(fetch(url(), { signal }), { name: 'TimeoutError' });
    await proxy.set({ kind: 'pass' });
    assert.equal(await answer, BODY);
  });

  it('delay: the answer comes later', async () => {
    await proxy.set({ kind: 'delay', milliseconds: PATIENCE_MILLISECONDS });
    const started = performance.now();
    assert.equal(await get(), BODY);
    assert.ok(performance.now() - started >= PATIENCE_MILLISECONDS);
  });

  it('throttle: all bodies together pass no faster, either way', async () => {
    await proxy.set({ kind: 'throttle', bytesPerSecond: 4 * BODY.length });
    const started = performance.now();
    assert.deepEqual(await Promise.all([get(), get()]), [BODY, BODY]);
    const down = performance.now();
    assert.ok(down - started >= 2 * QUARTER_MILLISECONDS);
    const put = async () => (await fetch(url(), { method: 'PUT', body: BODY })).text();
    assert.deepEqual(await Promise.all([put(), put()]), [BODY, BODY]);
    // Both go up, and the later one comes down again.
    assert.ok(performance.now() - down >= 3 * QUARTER_MILLISECONDS);
  });

  it('reset, of an answer: the client gets so many bytes and an error', async () => {
    await proxy.set({ kind: 'reset', direction: 'down', afterBytes: 1000 });
    const before = proxy.bytes.down;
    await assert.rejects(get(), isCut);
    assert.equal(proxy.bytes.down - before, 1000);
  });

  it('reset, of a request: the service gets less than the whole and the client an error', async () => {
    await proxy.set({ kind: 'reset', direction: 'up', afterBytes: 1000 });
    seen.length = 0;
    await assert.rejects(fetch(url(), { method: 'PUT', body: BODY }), isCut);
    assert.deepEqual(seen, []);
  });

  it('truncate: the client sees the end of the connection after so many bytes', async () => {
    await proxy.set({ kind: 'truncate', afterBytes: 1000 });
    const socket = connect(proxy.port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    let text = '';
    for await (const piece of socket) text += String(piece);
    const [head = '', body = ''] = text.split('\r\n\r\n');
    assert.match(head, /^content-length: 1000000$/im);
    assert.equal(body.length, 1000);
  });

  it('answer: errors as S3 words them, to what fits and so often as was said', async () => {
    await proxy.set(SLOW_DOWN, { method: 'GET', path: /^\/slow/, times: 2 });
    const statuses = async (): Promise<number[]> => {
      const answers = [await fetch(url('/slow')), await fetch(url('/other'))];
      await Promise.all(answers.map((answer) => answer.text()));
      return answers.map(({ status }) => status);
    };
    assert.deepEqual(
      [await statuses(), await statuses(), await statuses()].flat(),
      [503, 200, 503, 200, 200, 200],
    );
    assert.equal(proxy.met, 2);
    await proxy.set(INTERNAL_ERROR);
    assert.match(await get(), /<Code>InternalError<\/Code>/);
    await proxy.set(UNAVAILABLE);
    assert.equal((await fetch(url(), { method: 'PUT', body: BODY })).status, 503);
  });
});

describe('a fault proxy in front of anything else', () => {
  const echo = createTcp((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  let proxy: FaultProxy;
  before(async () => {
    await once(echo.listen(0, '127.0.0.1'), 'listening');
    proxy = await startFaultProxy({ targetPort: (echo.address() as AddressInfo).port, protocol: 'tcp' });
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    echo.close();
  });

  it('a connection, open already, meets the fault that is set now', async () => {
    await proxy.set({ kind: 'pass' });
    const { socket, next } = open();
    socket.write('one');
    assert.equal(await next(), 'one');
    await proxy.set({ kind: 'hang' });
    socket.write('two');
    const answer = next();
    assert.equal(await Promise.race([answer, patience()]), 'nothing');
    await proxy.set({ kind: 'pass' });
    assert.equal(await answer, 'two');
    await proxy.set({ kind: 'refuse' });
    assert.equal(await next(), 'ECONNRESET');
  });

  for (const [fault, expected] of [
    [{ kind: 'reset', direction: 'up', afterBytes: 2 }, ['tw', 'ECONNRESET']],
    [{ kind: 'reset', direction: 'down', afterBytes: 2 }, ['tw', 'ECONNRESET']],
    [{ kind: 'truncate', afterBytes: 2 }, ['tw', 'end']],
  ] as const satisfies [Fault, string[]][]) {
    it(`${fault.kind} ${'direction' in fault ? fault.direction : ''}: so many bytes pass, then the connection ends`, async () => {
      await proxy.set({ kind: 'pass' });
      const { socket, next } = open();
      socket.write('one');
      assert.equal(await next(), 'one');
      await proxy.set(fault);
      socket.write('two');
      // Of what goes up the last bytes may or may not come back before the line is cut.
      const got = await next();
      if (got === expected[0]) assert.equal(await next(), expected[1]);
      else assert.equal(got, expected[1]);
    });
  }

  it('throttle: all connections together pass no faster', async () => {
    await proxy.set({ kind: 'throttle', bytesPerSecond: 4 * BODY.length });
    const started = performance.now();
    await Promise.all([open(), open()].map((each) => echoed(each)));
    assert.ok(performance.now() - started >= 2 * QUARTER_MILLISECONDS);
  });

  it('so many connections, as were said, meet the fault', async () => {
    await proxy.set({ kind: 'hang' }, { times: 1 });
    const first = open();
    first.socket.write('first');
    const waiting = first.next();
    assert.equal(await Promise.race([waiting, patience()]), 'nothing');
    const second = open();
    second.socket.write('second');
    assert.equal(await second.next(), 'second');
    await proxy.set({ kind: 'pass' });
    assert.equal(await waiting, 'first');
  });

  async function echoed({ socket, next }: ReturnType<typeof open>): Promise<void> {
    socket.write(BODY);
    for (let left = BODY.length; left > 0; ) left -= (await next()).length;
    socket.destroy();
  }

  function open() {
    const socket = connect(proxy.port, '127.0.0.1');
    const pieces = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    return {
      socket,
      /** The next bytes, or how the connection ended. */
      next: async (): Promise<string> => {
        try {
          const { done, value } = await pieces.next();
          return done === true ? 'end' : String(value);
        } catch (error) {
          return (error as NodeJS.ErrnoException).code ?? String(error);
        }
      },
    };
  }

  function patience(): Promise<string> {
    return new Promise((resolve) => {
      setTimeout(resolve, PATIENCE_MILLISECONDS, 'nothing');
    });
  }
});
