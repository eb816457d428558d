import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { BlobLocation } from '../../src/blobs/blob-store.ts';
import { OWNER, PULLER, PUSHER, STRANGER, sha256 } from './v2-client.ts';
import { startV2, type V2Server } from './v2-server.ts';

const REPOSITORY = 'ghost/blobs';
const BYTES = Buffer.from(Array.from({ length: 2048 }, (_, index) => index % 251));
const DIGEST = sha256(BYTES);
const BLOB = `/v2/${REPOSITORY}/blobs/${DIGEST}`;

describe('blobs', () => {
  let v2: V2Server;
  before(async () => {
    v2 = await startV2();
    await v2.client.pushBlob(REPOSITORY, BYTES);
  });
  after(() => v2.stop());

  it('GET, of a blob, brings its bytes with what keeps a browser from running them', async () => {
    const answer = await v2.client.send('GET', BLOB);
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.body, BYTES);
    assert.equal(answer.headers['content-length'], '2048');
    assert.equal(answer.headers['content-type'], 'application/octet-stream');
    assert.equal(answer.headers['docker-content-digest'], DIGEST);
    assert.equal(answer.headers['accept-ranges'], 'bytes');
    assert.equal(answer.headers.etag, `"${DIGEST}"`);
    assert.equal(answer.headers['x-content-type-options'], 'nosniff');
    assert.equal(answer.headers['content-disposition'], 'attachment');
    assert.match(String(answer.headers['content-security-policy']), /sandbox/);
    assert.match(String(answer.headers['cache-control']), /^private/);
    assert.equal(answer.headers['content-encoding'], undefined);
  });

  it('HEAD, of a blob, is its GET without the bytes', async () => {
    const answer = await v2.client.send('HEAD', BLOB);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-length'], '2048');
    assert.equal(answer.headers['docker-content-digest'], DIGEST);
    assert.equal(answer.body.length, 0);
  });

  const single: readonly (readonly [string, number, number])[] = [
    ['bytes=500-1499', 500, 1499],
    ['bytes=500-', 500, 2047],
    ['bytes=-500', 1548, 2047],
    ['bytes=2000-5000', 2000, 2047],
    ['bytes=0-0', 0, 0],
    ['bytes=-5000', 0, 2047],
  ];
  for (const [range, start, end] of single) {
    it(`GET, for ${range}, is 206 with exactly those bytes`, async () => {
      const answer = await v2.client.send('GET', BLOB, { headers: { range } });
      assert.equal(answer.status, 206);
      assert.equal(answer.headers['content-range'], `bytes ${start}-${end}/2048`);
      assert.equal(answer.headers['content-length'], String(end - start + 1));
      assert.deepEqual(answer.body, BYTES.subarray(start, end + 1));
    });
  }

  for (const range of ['bytes=500-0', 'bytes=5000-10000', 'bytes=2048-', 'bytes=-0']) {
    it(`GET, for ${range}, is 416 and tells the size`, async () => {
      const answer = await v2.client.send('GET', BLOB, { headers: { range } });
      assert.equal(answer.status, 416);
      assert.equal(answer.headers['content-range'], 'bytes */2048');
      assert.equal(answer.code, 'SIZE_INVALID');
    });
  }

  for (const range of ['lines=1-2', 'bytes=a-b', 'bytes']) {
    it(`GET, for ${range}, ignores what is no byte range`, async () => {
      assert.equal((await v2.client.send('GET', BLOB, { headers: { range } })).status, 200);
    });
  }

  it('GET, for several ranges, brings each as a part, in the order asked', async () => {
    const answer = await v2.client.send('GET', BLOB, { headers: { range: 'bytes=1000-1009,0-4,-3' } });
    assert.equal(answer.status, 206);
    const type = /^multipart\/byteranges; ?boundary=([A-Za-z0-9]+)$/.exec(
      String(answer.headers['content-type']),
    );
    assert.ok(type, String(answer.headers['content-type']));
    assert.equal(answer.headers['content-length'], String(answer.body.length));
    const text = answer.body.toString('latin1');
    const parts = text.split(`--${type[1]}`).slice(1, -1);
    const bodies = parts.map((part) => Buffer.from(part.slice(part.indexOf('\r\n\r\n') + 4, -2), 'latin1'));
    assert.deepEqual(bodies, [BYTES.subarray(1000, 1010), BYTES.subarray(0, 5), BYTES.subarray(2045)]);
    assert.match(parts[0] ?? '', /Content-Range: bytes 1000-1009\/2048/i);
  });

  it('GET, for too many or overlapping ranges, is 400', async () => {
    const many = Array.from({ length: 2000 }, (_, index) => `${index}-${index}`).join(',');
    for (const range of [`bytes=${many}`, 'bytes=0-10,5-20']) {
      assert.equal((await v2.client.send('GET', BLOB, { headers: { range } })).status, 400);
    }
  });

  it('GET, with If-None-Match of the digest, is 304; with If-Range of another, it is the whole blob', async () => {
    for (const value of [`"${DIGEST}"`, `W/"${DIGEST}"`, `"x", "${DIGEST}"`, '*']) {
      const answer = await v2.client.send('GET', BLOB, { headers: { 'if-none-match': value } });
      assert.equal(answer.status, 304, value);
      assert.equal(answer.body.length, 0);
      assert.equal(answer.headers.etag, `"${DIGEST}"`);
    }
    const range = 'bytes=0-1';
    const same = await v2.client.send('GET', BLOB, { headers: { range, 'if-range': `"${DIGEST}"` } });
    assert.equal(same.status, 206);
    const another = await v2.client.send('GET', BLOB, { headers: { range, 'if-range': '"another"' } });
    assert.equal(another.status, 200);
  });

  it('a blob, through a repository that does not link it, is unknown to everybody', async () => {
    for (const method of ['GET', 'HEAD']) {
      const answer = await v2.client.send(method, `/v2/ghost/elsewhere/blobs/${DIGEST}`);
      assert.equal(answer.status, 404);
      if (method === 'GET') assert.equal(answer.code, 'BLOB_UNKNOWN');
    }
  });

  it('a blob, for those who may not pull there, is denied alike whether it exists or not', async () => {
    for (const as of [STRANGER, PUSHER]) {
      const there = await v2.client.send('GET', BLOB, { as });
      const absent = await v2.client.send('GET', `/v2/${REPOSITORY}/blobs/${sha256('absent')}`, { as });
      assert.equal(there.status, 403);
      assert.deepEqual(there.json, absent.json);
    }
    assert.equal((await v2.client.send('GET', BLOB, { as: PULLER })).status, 200);
    assert.equal((await v2.client.send('GET', BLOB, { as: null })).status, 401);
  });

  it('HEAD, by a pusher without the right to pull, tells what is there and touches it', async () => {
    const digest = await v2.client.pushBlob(REPOSITORY, Buffer.from('promised'));
    const path = `/v2/${REPOSITORY}/blobs/${digest}`;
    const touchedAt = async () => (await v2.meta.read.blobs.find(digest as never))?.touchedAt ?? 0;
    const first = await touchedAt();
    assert.equal((await v2.client.send('HEAD', path, { as: PUSHER })).status, 200);
    assert.equal(await touchedAt(), first, 'a fresh promise costs no write');
    v2.clock.advance(30 * 24 * 3600);
    assert.equal((await v2.client.send('HEAD', path, { as: PULLER })).status, 200);
    assert.equal(await touchedAt(), first, 'a reader is promised nothing');
    assert.equal((await v2.client.send('HEAD', path, { as: PUSHER })).status, 200);
    assert.ok((await touchedAt()) > first);
  });

  it('DELETE, of a blob, hides it at once in this repository on every process, and nowhere else', async () => {
    const bytes = Buffer.from('to be deleted');
    const digest = await v2.client.pushBlob(REPOSITORY, bytes);
    await v2.client.pushBlob('ghost/keeps', bytes);
    const path = `/v2/${REPOSITORY}/blobs/${digest}`;
    assert.equal((await v2.client.send('DELETE', path, { as: PUSHER })).status, 403);
    assert.equal((await v2.client.send('DELETE', path, { as: OWNER })).status, 202);
    assert.equal((await v2.client.send('HEAD', path)).status, 404);
    assert.equal((await v2.other.send('HEAD', path)).status, 404);
    const again = await v2.client.send('DELETE', path);
    assert.equal(again.status, 404);
    assert.equal(again.code, 'BLOB_UNKNOWN');
    assert.deepEqual((await v2.client.send('GET', `/v2/ghost/keeps/blobs/${digest}`)).body, bytes);
    const reviews = await v2.meta.read.queues.reviews({ dueBefore: null, limit: 10_000 });
    assert.ok(reviews.some((review) => review.digest === digest && review.kind === 'blob'));
  });

  it('DELETE, of a blob that a manifest needs, is refused and names the manifest', async () => {
    const image = await v2.client.pushImage('ghost/needs', 'latest', { content: 'needed' });
    const refused = await v2.client.send('DELETE', `/v2/ghost/needs/blobs/${image.layer}`);
    assert.equal(refused.status, 403);
    assert.equal(refused.code, 'DENIED');
    assert.match(refused.message, new RegExp(image.digest));
    assert.equal((await v2.client.send('HEAD', `/v2/ghost/needs/blobs/${image.layer}`)).status, 200);
    await v2.client.send('DELETE', `/v2/ghost/needs/manifests/${image.digest}`);
    assert.equal((await v2.client.send('DELETE', `/v2/ghost/needs/blobs/${image.layer}`)).status, 202);
  });

  it('a blob, deleted and pushed again, is there again', async () => {
    const bytes = Buffer.from('comes back');
    const digest = await v2.client.pushBlob(REPOSITORY, bytes);
    await v2.client.send('DELETE', `/v2/${REPOSITORY}/blobs/${digest}`);
    await v2.client.pushBlob(REPOSITORY, bytes);
    assert.deepEqual((await v2.client.send('GET', `/v2/${REPOSITORY}/blobs/${digest}`)).body, bytes);
  });

  it('a blob, whose bytes are gone or torn, is an honest 503 and never bad bytes', async () => {
    const digest = await v2.client.pushBlob(REPOSITORY, Buffer.from('will be lost'));
    await v2.blobs.delete((await v2.meta.read.blobs.find(digest as never))?.location as BlobLocation);
    const lost = await v2.client.send('GET', `/v2/${REPOSITORY}/blobs/${digest}`);
    assert.equal(lost.status, 503);
    assert.equal(lost.code, 'UNAVAILABLE');
    await v2.client.pushBlob(REPOSITORY, Buffer.from('will be lost'));
    assert.equal((await v2.client.send('GET', `/v2/${REPOSITORY}/blobs/${digest}`)).status, 200);
  });
});

describe('mounts', () => {
  let v2: V2Server;
  const bytes = Buffer.from('mounted');
  const digest = sha256(bytes);
  const mount = (to: string, from: string | null, what = digest): string =>
    `/v2/${to}/blobs/uploads/?mount=${what}${from === null ? '' : `&from=${encodeURIComponent(from)}`}`;
  before(async () => {
    v2 = await startV2();
    await v2.client.pushBlob('ghost/source', bytes);
  });
  after(() => v2.stop());

  it('a mount, from a repository that the caller may pull, links the blob', async () => {
    const answer = await v2.client.send('POST', mount('ghost/target', 'ghost/source'), { as: OWNER });
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.location, `/v2/ghost/target/blobs/${digest}`);
    assert.equal(answer.headers['docker-content-digest'], digest);
    assert.deepEqual(
      (await v2.client.send('GET', String(answer.headers.location), { as: OWNER })).body,
      bytes,
    );
  });

  it('a mount, without from, finds the blob where the caller may pull', async () => {
    const answer = await v2.client.send('POST', mount('ghost/found', null), { as: OWNER });
    assert.equal(answer.status, 201);
  });

  const fallbacks = [
    ['of a blob that is nowhere', 'ghost/fallback', 'ghost/source', sha256('nowhere'), OWNER],
    ['from a repository that is not there', 'ghost/fallback', 'ghost/absent', digest, OWNER],
    ['from a malformed name', 'ghost/fallback', 'Ghost//x', digest, OWNER],
    ['from a repository that the caller may not pull', 'other/fallback', 'ghost/source', digest, STRANGER],
    ['without from, of a blob that the caller may pull nowhere', 'other/fallback', null, digest, STRANGER],
    ['by who may push but not pull', 'ghost/fallback', 'ghost/source', digest, PUSHER],
  ] as const;
  for (const [name, to, from, what, as] of fallbacks) {
    it(`a mount, ${name}, is 202 with an upload that works`, async () => {
      const answer = await v2.client.send('POST', mount(to, from, what), { as });
      assert.equal(answer.status, 202);
      const sent = Buffer.from(`instead ${name}`);
      const location = String(answer.headers.location);
      const put = await v2.client.send('PUT', `${location}?digest=${sha256(sent)}`, { as, body: sent });
      assert.equal(put.status, 201);
    });
  }

  it('a mount, of a malformed digest, is 400', async () => {
    assert.equal(
      (await v2.client.send('POST', mount('ghost/target', null, 'sha256:x'))).code,
      'DIGEST_INVALID',
    );
  });

  it('a mount, without credentials, is told to ask for both scopes at once', async () => {
    const answer = await v2.client.send('POST', mount('ghost/target', 'ghost/source'), { as: null });
    assert.equal(answer.status, 401);
    const challenge = String(answer.headers['www-authenticate']);
    assert.match(
      challenge,
      /scope="repository:ghost\/target:(pull,push|push,pull) repository:ghost\/source:pull"/,
    );
  });

  it('a mount, with a token that covers the target alone, is told to ask for both scopes', async () => {
    const token = await v2.issueToken(OWNER, 'repository:ghost/narrow:pull,push');
    const headers = { authorization: `Bearer ${token}` };
    for (const from of ['ghost/source', null]) {
      const answer = await v2.client.send('POST', mount('ghost/narrow', from), { as: null, headers });
      assert.equal(answer.status, 401);
      const challenge = String(answer.headers['www-authenticate']);
      assert.match(challenge, /error="insufficient_scope"/);
      assert.match(challenge, /scope="repository:ghost\/narrow:pull,push repository:ghost\/[a-z]+:pull"/);
    }
    const wide = await v2.issueToken(OWNER, 'repository:ghost/narrow:pull,push repository:ghost/source:pull');
    const answer = await v2.client.send('POST', mount('ghost/narrow', 'ghost/source'), {
      as: null,
      headers: { authorization: `Bearer ${wide}` },
    });
    assert.equal(answer.status, 201);
  });
});
