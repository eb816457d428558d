import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { challengeOf, expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { type Answer, OWNER, PUSHER, sha256 } from './v2-client.ts';

const REPOSITORY = 'ghost/podman';

describe('section 4, podman, skopeo, buildah and CRI-O (containers/image)', () => {
  let world: WireWorld;
  before(async () => {
    world = await openWireWorld({ env: { DRIFT_ANONYMOUS_PULL: 'public/**' } });
  });
  after(() => world[Symbol.asyncDispose]());

  it('ping: 401 with a Bearer challenge to the anonymous even where pulls are public; Basic Og== is anonymous', async () => {
    for (const headers of [{}, { authorization: 'Basic Og==' }]) {
      const answer = await expectAnswer(world.client.send('GET', '/v2/', { as: null, headers }), {
        status: 401,
      });
      assert.ok(challengeOf(answer)['realm']);
    }
    const image = await world.client.pushImage('public/app', 'latest');
    const token = await world.token(null, 'repository:public/app:pull');
    const headers = { authorization: `Bearer ${token}` };
    const pulled = await world.client.send('GET', '/v2/public/app/manifests/latest', { as: null, headers });
    assert.deepEqual(pulled.body, image.bytes);
  });

  for (const [what, asBody] of [
    ['with Content-Length', (bytes: Buffer) => bytes],
    ['chunked', (bytes: Buffer) => [bytes]],
  ] as const) {
    it(`push ${what}: HEAD, POST, one PATCH, and an empty PUT to a Location whose query was re-encoded in sorted order`, async () => {
      const bytes = randomBytes(40_000);
      const digest = sha256(bytes);
      const as = PUSHER;
      await expectAnswer(world.client.send('HEAD', `/v2/${REPOSITORY}/blobs/${digest}`, { as }), {
        status: 404,
      });
      const opened = await world.client.send('POST', `/v2/${REPOSITORY}/blobs/uploads/`, { as });
      const patched = await expectAnswer(
        world.client.send('PATCH', String(opened.headers.location), {
          as,
          headers: { 'content-type': 'application/octet-stream' },
          body: asBody(bytes),
        }),
        { status: 202, range: '0-39999' },
      );
      const location = new URL(String(patched.headers.location), world.registry.registryUrl);
      location.searchParams.set('digest', digest);
      location.searchParams.sort();
      await expectAnswer(world.client.send('PUT', `${location.pathname}${location.search}`, { as }), {
        status: 201,
        location: `/v2/${REPOSITORY}/blobs/${digest}`,
      });
      await expectAnswer(world.client.send('HEAD', `/v2/${REPOSITORY}/blobs/${digest}`, { as }), {
        status: 200,
        'content-length': '40000',
      });
    });
  }

  it('push: after a 202 on a mount, DELETE of the upload needs no more than push', async () => {
    const path = `/v2/${REPOSITORY}/blobs/uploads/?from=ghost/none&mount=${sha256('x')}`;
    const token = await world.token(PUSHER, `repository:${REPOSITORY}:pull,push repository:ghost/none:pull`);
    const headers = { authorization: `Bearer ${token}` };
    const opened = await expectAnswer(world.client.send('POST', path, { as: null, headers }), {
      status: 202,
    });
    const location = String(opened.headers.location);
    await expectAnswer(world.client.send('DELETE', location, { as: null, headers }), { status: 204 });
    await expectAnswer(world.client.send('GET', location, { as: null, headers }), { status: 404 });
  });

  it('pull: reconnects in the middle of a blob with Range and a strict Content-Range, never 200', async () => {
    const bytes = randomBytes(10_000);
    const digest = await world.client.pushBlob(REPOSITORY, bytes);
    for (const from of [0, 1, 9_999]) {
      const answer = await expectAnswer(
        world.client.send('GET', `/v2/${REPOSITORY}/blobs/${digest}`, {
          headers: { range: `bytes=${from}-` },
        }),
        { status: 206, 'content-range': `bytes ${from}-9999/10000`, 'content-length': String(10_000 - from) },
      );
      assert.deepEqual(answer.body, bytes.subarray(from));
    }
  });

  it('delete: GET of the tag with a token of *, then DELETE by digest, exactly 202', async () => {
    const image = await world.client.pushImage(REPOSITORY, 'gone');
    const token = await world.token(OWNER, `repository:${REPOSITORY}:*`);
    const headers = { authorization: `Bearer ${token}` };
    const got = await world.client.send('GET', `/v2/${REPOSITORY}/manifests/gone`, { as: null, headers });
    const path = `/v2/${REPOSITORY}/manifests/${String(got.headers['docker-content-digest'])}`;
    await expectAnswer(world.client.send('DELETE', path, { as: null, headers }), { status: 202 });
    await expectAnswer(world.client.send('GET', path, { as: null, headers }), { status: 404 });
    assert.equal(path.endsWith(image.digest), true);
  });

  it('a manifest pushed without Content-Type is stored with the type of its body', async () => {
    const image = await world.client.pushImage(REPOSITORY, 'typed', { content: 'typed' });
    const answer = world.client.send('PUT', `/v2/${REPOSITORY}/manifests/untyped`, { body: image.bytes });
    await expectAnswer(answer, { status: 201, 'docker-content-digest': image.digest });
  });
});

/** Reads a multipart body as Go's `mime/multipart` does: CRLF before each boundary, headers, an empty line, bytes. */
function partsOf(answer: Answer): { readonly range: string; readonly bytes: Buffer }[] {
  const match = /^multipart\/byteranges; ?boundary=([A-Za-z0-9]{1,70})$/.exec(
    String(answer.headers['content-type']),
  );
  assert.ok(match, `an unquoted boundary of letters and digits: ${answer.headers['content-type']}`);
  const text = answer.body.toString('latin1');
  const sections = text.split(`--${match[1]}`);
  assert.equal(sections[0]?.trim(), '');
  assert.match(sections.at(-1) ?? '', /^--\r\n$/);
  return sections.slice(1, -1).map((section) => {
    const [, head = '', body = ''] = /^\r\n([^]*?)\r\n\r\n([^]*)\r\n$/.exec(section) ?? [];
    const range = /^content-range: (.*)$/im.exec(head)?.[1]?.trim() ?? '';
    return { range, bytes: Buffer.from(body, 'latin1') };
  });
}

describe('section 4, lazy and partial pulls', () => {
  let world: WireWorld;
  let path: string;
  const bytes = Buffer.from(
    Array.from({ length: 100_000 }, () => 'abcdefgh'[Math.floor(Math.random() * 8)]).join(''),
  );
  before(async () => {
    world = await openWireWorld({ env: { DRIFT_LIMITS_RANGES: '64' } });
    path = `/v2/${REPOSITORY}/blobs/${await world.client.pushBlob(REPOSITORY, bytes)}`;
  });
  after(() => world[Symbol.asyncDispose]());

  const get = (range: string): Promise<Answer> => world.client.send('GET', path, { headers: { range } });

  it('zstd:chunked: as many ranges as allowed come as that many parts, in the order asked, adjacent ones not merged', async () => {
    const starts = Array.from({ length: 64 }, (_, index) => ((index * 37) % 64) * 100);
    const asked = starts.map((start) => `${start}-${start + 99}`);
    const answer = await expectAnswer(get(`bytes=${asked.join(',')}`), {
      status: 206,
      'content-length': /^\d+$/,
    });
    const parts = partsOf(answer);
    assert.deepEqual(
      parts.map((part) => part.range),
      asked.map((range) => `bytes ${range}/100000`),
    );
    for (const [index, part] of parts.entries()) {
      const start = starts[index] ?? 0;
      assert.ok(part.bytes.equals(bytes.subarray(start, start + 100)));
    }
  });

  it('zstd:chunked: too many or overlapping ranges are 400 and not 416, so that the client asks for fewer', async () => {
    const many = Array.from({ length: 65 }, (_, index) => `${index * 100}-${index * 100 + 9}`).join(',');
    for (const ranges of [many, '0-100,50-150', '0-,0-', '5-5,5-5']) {
      await expectAnswer(get(`bytes=${ranges}`), { status: 400 });
    }
  });

  it('zstd:chunked: ranges of which one lies at the last byte are served to the byte', async () => {
    const answer = await expectAnswer(get('bytes=99999-99999,0-0'), { status: 206 });
    assert.deepEqual(
      partsOf(answer).map((part) => part.range),
      ['bytes 99999-99999/100000', 'bytes 0-0/100000'],
    );
  });

  it('stargz, SOCI and nydus: bytes=0-1 first, HEAD for the size, the footer from the end, then parts', async () => {
    await expectAnswer(get('bytes=0-1'), {
      status: 206,
      'content-range': 'bytes 0-1/100000',
      'content-length': '2',
    });
    await expectAnswer(world.client.send('HEAD', path), {
      status: 200,
      'content-length': '100000',
      'accept-ranges': 'bytes',
    });
    const footer = await expectAnswer(get('bytes=-51'), {
      status: 206,
      'content-range': 'bytes 99949-99999/100000',
    });
    assert.ok(footer.body.equals(bytes.subarray(-51)));
    assert.equal(partsOf(await get('bytes=10-19,50-59')).length, 2);
  });

  it('stargz: a Range header of 28 KiB is read, not refused as too large a header', async () => {
    const ranges = Array.from({ length: 2_400 }, (_, index) => `${index * 20}-${index * 20 + 9}`).join(',');
    assert.ok(ranges.length > 26_000);
    await expectAnswer(get(`bytes=${ranges}`), { status: 400 });
  });
});
