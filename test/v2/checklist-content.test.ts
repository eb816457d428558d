import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { exchangeRaw } from '../harness/door-world.ts';
import { expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { ADMIN, type Answer, basic, IMAGE, PULLER, sha256, sha512 } from './v2-client.ts';

const REPOSITORY = 'ghost/checklist';
const UPLOADS = `/v2/${REPOSITORY}/blobs/uploads/`;
/** distribution-spec, "Error Codes", and what section 3.2 allows beside them for 5xx. */
const CODES = new Set([
  'BLOB_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'BLOB_UPLOAD_UNKNOWN',
  'DIGEST_INVALID',
  'MANIFEST_BLOB_UNKNOWN',
  'MANIFEST_INVALID',
  'MANIFEST_UNKNOWN',
  'NAME_INVALID',
  'NAME_UNKNOWN',
  'SIZE_INVALID',
  'UNAUTHORIZED',
  'DENIED',
  'UNSUPPORTED',
  'TOOMANYREQUESTS',
]);

let world: WireWorld;
let image: Awaited<ReturnType<WireWorld['client']['pushImage']>>;
before(async () => {
  world = await openWireWorld();
  image = await world.client.pushImage(REPOSITORY, 'latest');
});
after(() => world[Symbol.asyncDispose]());

const send = (method: string, path: string, ask: object = {}): Promise<Answer> =>
  world.client.send(method, path, ask);
const manifest = (reference: string): string => `/v2/${REPOSITORY}/manifests/${reference}`;

describe('section 1.2, names, digests, general', () => {
  const names: readonly (readonly [string, number])[] = [
    ['a', 200],
    ['a/b/c/d/e/f/g', 200],
    ['a.b/c_d/e__f/g---h', 200],
    [`${'a'.repeat(127)}/${'b'.repeat(127)}`, 200],
    [`${'a'.repeat(128)}/${'b'.repeat(127)}`, 400],
    ['a..b', 400],
    ['a___b', 400],
    ['a-', 400],
    ['.a', 400],
    ['A', 400],
    ['a/_b', 400],
    ['a+b', 400],
  ];
  for (const [name, status] of names) {
    it(`G1 the name ${name.slice(0, 20)}, is ${status === 200 ? 'taken' : 'NAME_INVALID'}`, async () => {
      const answer = await send('GET', `/v2/${name}/referrers/${sha256('x')}`);
      assert.deepEqual([answer.status, answer.code], [status, status === 200 ? null : 'NAME_INVALID']);
    });
  }

  it('G2 tags in path and query, of 128 characters are taken, and beyond or of others are 400', async () => {
    for (const [tag, status] of [
      ['t'.repeat(128), 201],
      ['_', 201],
      ['t'.repeat(129), 400],
      ['-t', 400],
      ['.t', 400],
      ['t%2Bt', 400],
      ['%C3%A9', 400],
    ] as const) {
      await expectAnswer(world.client.putManifest(REPOSITORY, tag, image.bytes), { status });
      await expectAnswer(world.client.putManifest(REPOSITORY, `${image.digest}?tag=${tag}`, image.bytes), {
        status,
      });
    }
    await expectAnswer(world.client.putManifest(REPOSITORY, `${image.digest}?tag=`, image.bytes), {
      status: 400,
    });
  });

  it('G5 every refusal, whatever caused it, is JSON with a code of the specification', async () => {
    const location = await world.client.startUpload(REPOSITORY);
    const requests: readonly (readonly [string, string, object?])[] = [
      ['GET', '/v2/', { as: null }],
      ['GET', '/v2/nowhere'],
      ['GET', '/v2/ghost/none/tags/list'],
      ['GET', manifest('none')],
      ['GET', manifest('sha256:x')],
      ['GET', manifest('-')],
      ['PUT', manifest('x'), { body: '{' }],
      ['PUT', manifest('x'), { as: PULLER, body: '{' }],
      ['PUT', manifest(sha256('other')), { body: '{}' }],
      [
        'PUT',
        `${manifest(image.digest)}?${'tag=a&'.repeat(40)}`,
        { body: image.bytes, headers: { 'content-type': IMAGE } },
      ],
      ['PUT', manifest('x'), { body: image.bytes, headers: { 'content-type': IMAGE, 'if-match': '"x"' } }],
      ['GET', `/v2/${REPOSITORY}/blobs/${sha256('none')}`],
      ['GET', `/v2/${REPOSITORY}/blobs/${image.layer}`, { headers: { range: 'bytes=99-' } }],
      ['GET', `/v2/${REPOSITORY}/blobs/${image.layer}`, { headers: { range: 'bytes=0-1,1-2' } }],
      ['DELETE', `/v2/${REPOSITORY}/blobs/${image.layer}`],
      ['POST', '/v2/A/blobs/uploads/'],
      ['PATCH', `${UPLOADS}00000000`],
      ['PATCH', location, { headers: { 'content-range': '5-9' }, body: '12345' }],
      ['PATCH', location, { headers: { 'content-range': '0-9' }, body: '12345' }],
      ['PATCH', location, { headers: { 'content-range': 'x-y' }, body: '12345' }],
      ['PUT', location],
      ['POST', `/v2/${REPOSITORY}/tags/list`],
      ['GET', `/v2/${REPOSITORY}/tags/list?n=x`],
      ['GET', '/v1/search'],
    ];
    for (const [method, path, ask] of requests) {
      const answer = await send(method, path, ask);
      assert.ok(answer.status >= 400 && answer.status < 500, `${method} ${path}: ${answer.status}`);
      assert.equal(answer.headers['content-type'], 'application/json');
      assert.ok(CODES.has(answer.code ?? ''), `${method} ${path}: ${answer.code}`);
      assert.ok(answer.message.length > 3);
      assert.equal(answer.headers['warning'], undefined, 'G6');
    }
  });
});

describe('section 1.3, pull', () => {
  it('P1 and P3 GET and HEAD, by tag and digest of either algorithm, have type without parameters, length and digest', async () => {
    const bytes = Buffer.concat([image.bytes, Buffer.from('\n \t\n')]);
    const type = `${IMAGE}; charset=utf-8`;
    for (const digest of [sha256(bytes), sha512(bytes)]) {
      const tag = digest.slice(0, 6);
      await expectAnswer(world.client.putManifest(REPOSITORY, `${digest}?tag=${tag}`, bytes, { type }), {
        status: 201,
        'docker-content-digest': digest,
        'oci-tag': tag,
        location: manifest(digest),
      });
      for (const reference of [digest, tag]) {
        for (const method of ['GET', 'HEAD']) {
          const answer = await expectAnswer(send(method, manifest(reference)), {
            status: 200,
            'content-type': IMAGE,
            'content-length': String(bytes.length),
            'docker-content-digest': digest,
          });
          assert.deepEqual(answer.body, method === 'GET' ? bytes : Buffer.alloc(0));
        }
      }
    }
  });

  it('P5 a manifest under sha512, has its referrers, and goes by that digest with its tag', async () => {
    const bytes = Buffer.concat([image.bytes, Buffer.from(' ')]);
    const digest = sha512(bytes);
    await world.client.putManifest(REPOSITORY, `${digest}?tag=long`, bytes);
    const subject = { mediaType: IMAGE, digest, size: bytes.length };
    const referrer = await world.client.pushImage(REPOSITORY, null, { subject, content: 'of sha512' });
    const list = await send('GET', `/v2/${REPOSITORY}/referrers/${digest}`);
    assert.deepEqual(
      list.json.manifests.map((entry) => entry.digest),
      [referrer.digest],
    );
    await expectAnswer(send('DELETE', manifest(digest)), { status: 202 });
    await expectAnswer(send('GET', manifest('long')), { status: 404 });
  });

  it('P4 an empty blob, in every form of range, is answered and never breaks', async () => {
    const empty = await world.client.pushBlob(REPOSITORY, Buffer.alloc(0));
    const path = `/v2/${REPOSITORY}/blobs/${empty}`;
    await expectAnswer(send('GET', path), {
      status: 200,
      'content-length': '0',
      'docker-content-digest': empty,
    });
    await expectAnswer(send('HEAD', path), { status: 200, 'content-length': '0' });
    await expectAnswer(send('GET', path, { headers: { range: 'bytes=0-' } }), {
      status: 416,
      'content-range': 'bytes */0',
    });
    await expectAnswer(send('GET', path, { headers: { range: 'bytes=-5' } }), {
      status: 200,
      'content-length': '0',
    });
  });
});

describe('section 1.4, push of blobs', () => {
  it('B5 a chunk, repeated, early or late, by PATCH or PUT, is 416 with Location and Range, and the upload survives', async () => {
    const bytes = randomBytes(3000);
    const digest = sha256(bytes);
    const location = await world.client.startUpload(REPOSITORY);
    const chunk = (from: number, to: number) => ({
      headers: { 'content-range': `${from}-${to - 1}` },
      body: bytes.subarray(from, to),
    });
    const refused = { status: 416, location, range: '0-0' };
    await expectAnswer(send('PATCH', location, chunk(1, 1000)), refused);
    await expectAnswer(send('PUT', `${location}?digest=${digest}`, chunk(2000, 3000)), refused);
    await expectAnswer(send('PATCH', location, chunk(0, 1000)), { status: 202, range: '0-999' });
    for (const [from, to] of [
      [0, 1000],
      [999, 2000],
      [1001, 2000],
    ] as const) {
      const answer = await expectAnswer(send('PATCH', location, chunk(from, to)), {
        ...refused,
        range: '0-999',
      });
      assert.equal(answer.code, 'BLOB_UPLOAD_INVALID');
      await expectAnswer(send('PUT', `${location}?digest=${digest}`, chunk(from, to)), {
        ...refused,
        range: '0-999',
      });
      await expectAnswer(send('GET', `${location}?digest=${digest}`), { status: 204, range: '0-999' });
    }
    await expectAnswer(send('PATCH', location, chunk(1000, 2000)), { status: 202, range: '0-1999' });
    await expectAnswer(send('PUT', `${location}?digest=${digest}`, chunk(2000, 3000)), { status: 201 });
  });

  it('B6 and B8 an upload that ended, by PUT or DELETE, is BLOB_UPLOAD_UNKNOWN for everything', async () => {
    const ended = await world.client.startUpload(REPOSITORY);
    await expectAnswer(send('PUT', `${ended}?digest=${sha256('x')}`, { body: 'x' }), { status: 201 });
    const cancelled = await world.client.startUpload(REPOSITORY);
    await expectAnswer(send('DELETE', cancelled), { status: 204 });
    for (const location of [ended, cancelled]) {
      for (const [method, query] of [
        ['GET', ''],
        ['PATCH', ''],
        ['PUT', `?digest=${sha256('x')}`],
        ['DELETE', ''],
      ]) {
        const answer = await expectAnswer(
          send(method ?? '', `${location}${query}`, method === 'GET' ? {} : { body: 'x' }),
          {
            status: 404,
          },
        );
        assert.equal(answer.code, 'BLOB_UPLOAD_UNKNOWN');
      }
    }
  });

  it('B7 chunks of one byte, are taken: nothing tells the client of a least length', async () => {
    const opened = await expectAnswer(send('POST', UPLOADS), { status: 202, 'oci-chunk-min-length': null });
    const location = String(opened.headers.location);
    for (const [index, byte] of ['a', 'b', 'c'].entries()) {
      const headers = { 'content-range': `${index}-${index}` };
      await expectAnswer(send('PATCH', location, { headers, body: byte }), {
        status: 202,
        range: `0-${index}`,
      });
    }
    await expectAnswer(send('PUT', `${location}?digest=${sha256('abc')}`), { status: 201 });
  });

  it('B9 bytes of another digest, store nothing under either digest, whatever the push', async () => {
    const [right, wrong] = [sha256('right'), sha256('wrong')];
    const uploads = [await world.client.startUpload(REPOSITORY), await world.client.startUpload(REPOSITORY)];
    await send('PATCH', uploads[0] ?? '', { body: 'right' });
    for (const [method, path, body] of [
      ['PUT', `${uploads[0]}?digest=${wrong}`, ''],
      ['PUT', `${uploads[1]}?digest=${wrong}`, 'right'],
      ['POST', `${UPLOADS}?digest=${wrong}`, 'right'],
    ] as const) {
      const answer = await expectAnswer(send(method, path, { body }), { status: 400 });
      assert.equal(answer.code, 'DIGEST_INVALID');
    }
    for (const digest of [right, wrong]) {
      await expectAnswer(send('HEAD', `/v2/${REPOSITORY}/blobs/${digest}`), { status: 404 });
    }
  });

  it('B1 a POST with slash and without, is 202 and never a redirect', async () => {
    for (const path of [UPLOADS, UPLOADS.slice(0, -1)]) {
      const request = `POST ${path} HTTP/1.1\r\nHost: r\r\nAuthorization: ${basic(ADMIN)}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`;
      assert.match(await exchangeRaw(world.port, request), /^HTTP\/1\.1 202 /);
    }
  });
});
