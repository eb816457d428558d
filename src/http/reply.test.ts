import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchangeRaw, openDoor, WatchedBody } from '../../test/harness/door-world.ts';
import type { BlobBody, ByteRange } from '../blobs/blob-store.ts';
import type { Reply } from './call.ts';

const REQUEST = '/v2/a HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer ok\r\nConnection: close\r\n\r\n';
const CONTENT = Buffer.from('0123456789abcdefghijklmnopqrstuvwxyz');

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += 3) yield bytes.subarray(offset, offset + 3);
}

async function answerTo(method: string, reply: Reply): Promise<{ head: string; body: string; cut: unknown }> {
  await using world = await openDoor({ handle: async () => reply });
  const text = await exchangeRaw(world.port, `${method} ${REQUEST}`);
  const split = text.indexOf('\r\n\r\n');
  return { head: text.slice(0, split + 2), body: text.slice(split + 4), cut: world.lines[0]?.cut };
}

function blob(body: BlobBody, sizeBytes = body.sizeBytes): Reply {
  return {
    status: 200,
    headers: { 'Content-Type': 'application/octet-stream' },
    body: { kind: 'blob', sizeBytes, body },
  };
}

test('writeReply, bytes, have their exact length', async () => {
  const { head, body } = await answerTo('GET', {
    status: 200,
    headers: {},
    body: { kind: 'bytes', bytes: CONTENT },
  });
  assert.match(head, /Content-Length: 36\r\n/);
  assert.equal(body, CONTENT.toString());
});

test('writeReply, bytes of every value, short and long, arrive as they are', async () => {
  for (const size of [256, 8 * 1024, 8 * 1024 + 1]) {
    const bytes = Buffer.from(Array.from({ length: size }, (_, index) => index % 256));
    const reply: Reply = { status: 200, headers: {}, body: { kind: 'bytes', bytes } };
    await using world = await openDoor({ handle: async () => reply });
    const response = await fetch(`http://127.0.0.1:${world.port}/v2/a`, {
      headers: { authorization: 'Bearer ok' },
    });
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), bytes);
  }
});

test('writeReply, HEAD of bytes, JSON and a blob, states the length and sends nothing', async () => {
  const watched = new WatchedBody(36, pieces(CONTENT));
  const replies: [Reply, number][] = [
    [{ status: 200, headers: {}, body: { kind: 'bytes', bytes: CONTENT } }, 36],
    [{ status: 200, headers: {}, body: { kind: 'json', value: { a: 1 } } }, 7],
    [{ status: 200, headers: { 'Content-Length': '99' }, body: { kind: 'none' } }, 99],
    [blob(watched), 36],
  ];
  for (const [reply, length] of replies) {
    const { head, body } = await answerTo('HEAD', reply);
    assert.match(head, new RegExp(`Content-Length: ${length}\r\n`));
    assert.equal(body, '');
  }
  assert.equal(watched.closes, 1);
});

test('writeReply, nothing, is Content-Length 0, and none at all for 204 and 304', async () => {
  const none = { headers: {}, body: { kind: 'none' } } as const;
  assert.match((await answerTo('GET', { status: 202, ...none })).head, /Content-Length: 0\r\n/);
  for (const status of [204, 304]) {
    assert.doesNotMatch(
      (await answerTo('GET', { status, ...none })).head,
      /Content-Length|Transfer-Encoding/,
    );
  }
});

test('writeReply, several values of a header, are several lines', async () => {
  const headers = { Warning: ['299 - "a"', '299 - "b"'] };
  const { head } = await answerTo('GET', { status: 200, headers, body: { kind: 'none' } });
  assert.equal(head.match(/Warning: 299/g)?.length, 2);
});

test('writeReply, a blob, goes out whole and is closed', async () => {
  const watched = new WatchedBody(36, pieces(CONTENT));
  const { head, body, cut } = await answerTo('GET', blob(watched));
  assert.match(head, /Content-Length: 36\r\n/);
  assert.equal(body, CONTENT.toString());
  assert.equal(cut, undefined);
  assert.ok(watched.closes >= 1);
});

test('writeReply, a blob that fails, ends early or runs over, breaks the connection before its announced end', async () => {
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield CONTENT.subarray(0, 10);
    throw new Error('torn');
  }
  const broken: [BlobBody, number][] = [
    [new WatchedBody(36, failing()), 36],
    [new WatchedBody(36, pieces(CONTENT)), 50],
    [new WatchedBody(36, pieces(CONTENT)), 20],
  ];
  for (const [body, announced] of broken) {
    const answer = await answerTo('GET', blob(body, announced));
    assert.ok(answer.body.length < announced, `${answer.body.length} of ${announced}`);
    assert.equal(answer.cut, 'broken');
    assert.ok((body as WatchedBody).closes >= 1);
  }
});

test('writeReply, ranges, are parts in the order asked, framed and counted exactly', async () => {
  const ranges: ByteRange[] = [
    { start: 30, end: 35 },
    { start: 0, end: 0 },
    { start: 10, end: 19 },
  ];
  const opened: WatchedBody[] = [];
  const open = async ({ start, end }: ByteRange): Promise<BlobBody> => {
    const body = new WatchedBody(36, pieces(CONTENT.subarray(start, end + 1)));
    opened.push(body);
    return body;
  };
  const mediaType = 'application/octet-stream';
  const reply: Reply = {
    status: 206,
    headers: {},
    body: { kind: 'ranges', mediaType, sizeBytes: 36, ranges, open },
  };
  const { head, body } = await answerTo('GET', reply);
  const boundary = /Content-Type: multipart\/byteranges; boundary=([A-Za-z0-9]+)\r\n/.exec(head)?.[1];
  assert.ok(boundary !== undefined);
  const parts = ranges.map(({ start, end }) => {
    const range = `Content-Type: ${mediaType}\r\nContent-Range: bytes ${start}-${end}/36\r\n\r\n`;
    return `--${boundary}\r\n${range}${CONTENT.toString().slice(start, end + 1)}\r\n`;
  });
  assert.equal(body, `${parts.join('')}--${boundary}--\r\n`);
  assert.match(head, new RegExp(`Content-Length: ${body.length}\r\n`));
  assert.deepEqual(
    opened.map(({ closes }) => closes > 0),
    [true, true, true],
  );
});

test('writeReply, a range that cannot be opened, is still an honest error', async () => {
  const open = async (): Promise<BlobBody> => {
    throw new Error('gone');
  };
  const body = {
    kind: 'ranges',
    mediaType: 'a/b',
    sizeBytes: 9,
    ranges: [{ start: 0, end: 1 }],
    open,
  } as const;
  const { head } = await answerTo('GET', { status: 206, headers: {}, body });
  assert.match(head, /^HTTP\/1\.1 500 /);
});
