import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { exchangeRaw } from '../harness/door-world.ts';
import { expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { ADMIN, basic } from './v2-client.ts';

const REPOSITORY = 'ghost/http';
const AUTH = `Host: r\r\nAuthorization: ${basic(ADMIN)}\r\n`;
const CLOSE = `${AUTH}Connection: close\r\n`;

let world: WireWorld;
before(async () => {
  world = await openWireWorld();
});
after(() => world[Symbol.asyncDispose]());

const raw = (text: string): Promise<string> => exchangeRaw(world.port, text);
const countOf = (answer: string): number => answer.match(/HTTP\/1\.1 /g)?.length ?? 0;

describe('E3, smuggling', () => {
  const hidden = `GET /v2/_catalog HTTP/1.1\r\n${AUTH}\r\n`;
  const heads: readonly (readonly [string, string])[] = [
    ['both length headers', 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['both, the other way round', 'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n'],
    ['two lengths', 'Content-Length: 0\r\nContent-Length: 5\r\n\r\n'],
    ['a list of lengths', 'Content-Length: 0, 5\r\n\r\n'],
    ['a length below zero', 'Content-Length: -1\r\n\r\n'],
    ['a length with a sign', 'Content-Length: +0\r\n\r\n'],
    ['a length in hex', 'Content-Length: 0x0\r\n\r\n'],
    ['chunked that is not last', 'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
    ['chunked twice', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['an encoding nobody knows', 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['a tab before chunked', 'Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n'],
    ['a space before the colon', 'Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n'],
    ['a folded header', 'X: y\r\n Content-Length: 5\r\n\r\n'],
    ['a bare line feed', 'X: y\nContent-Length: 0\r\n\r\n'],
    ['a bare carriage return', 'X: y\rContent-Length: 5\r\n\r\n'],
    ['NUL in a header', 'X: a\0b\r\n\r\n'],
    ['a chunk size in words', 'Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n'],
    ['a chunk size below zero', 'Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n'],
    ['a chunk size beyond 64 bits', `Transfer-Encoding: chunked\r\n\r\n1${'0'.repeat(16)}\r\nx\r\n0\r\n\r\n`],
    ['a chunk with more than its size', 'Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n'],
    ['a chunk line with a bare line feed', 'Transfer-Encoding: chunked\r\n\r\n0\n\n'],
  ];
  for (const [what, rest] of heads) {
    it(`E3 ${what}, is refused, and what follows is no request`, async () => {
      const location = await world.client.startUpload(REPOSITORY);
      const answer = await raw(`PATCH ${location} HTTP/1.1\r\n${AUTH}${rest}${hidden}`);
      assert.match(answer, /^HTTP\/1\.1 400 /);
      assert.equal(countOf(answer), 1, answer);
      assert.doesNotMatch(answer, /repositories/);
      await expectAnswer(world.client.send('DELETE', location), { status: 204 });
    });
  }

  it('E3 a chunked body with extensions and trailers, is read for its bytes alone', async () => {
    const location = await world.client.startUpload(REPOSITORY);
    const body = '5;a=b\r\nhello\r\n0\r\nX-Check: 99\r\nAuthorization: Basic eA==\r\n\r\n';
    const answer = await raw(
      `PATCH ${location} HTTP/1.1\r\n${CLOSE}Transfer-Encoding: chunked\r\n\r\n${body}`,
    );
    assert.match(answer, /^HTTP\/1\.1 202 [^]*\r\nRange: 0-4\r\n/);
  });

  it('E3 a body on GET, HEAD and DELETE, does not become the next request', async () => {
    for (const method of ['GET', 'DELETE']) {
      const body = `GET /v2/_catalog HTTP/1.1\r\n${AUTH}\r\n`;
      const answer = await raw(
        `${method} /v2/${REPOSITORY}/manifests/none HTTP/1.1\r\n${AUTH}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
      assert.match(answer, /^HTTP\/1\.1 404 /);
      assert.doesNotMatch(answer, /repositories/);
    }
  });

  it('E3 requests in one packet, are each answered by their own credentials', async () => {
    const answer = await raw(
      `GET /v2/_catalog HTTP/1.1\r\n${AUTH}\r\nGET /v2/_catalog HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n`,
    );
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 401']);
  });
});
