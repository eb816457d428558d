import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import {
  challengeOf,
  eventually,
  expectAnswer,
  hangUp,
  openWireWorld,
  type WireWorld,
} from '../harness/wire-world.ts';
import { type Answer, basic, IMAGE, INDEX, OWNER, PUSHER, STRANGER, sha256 } from './v2-client.ts';

const REPOSITORY = 'ghost/docker';
const DOCKER_TYPES = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  IMAGE,
  INDEX,
].join(', ');

describe('section 4, docker with the classic store', () => {
  let world: WireWorld;
  before(async () => {
    world = await openWireWorld();
  });
  after(() => world[Symbol.asyncDispose]());

  const send = (method: string, path: string, token: string, rest: object = {}): Promise<Answer> => {
    const { headers, ...ask } = rest as { headers?: Record<string, string> };
    return world.client.send(method, path, {
      as: null,
      headers: { ...headers, authorization: `Bearer ${token}` },
      ...ask,
    });
  };

  it('docker login: anonymous ping, a token without scope, and the ping with it is 200', async () => {
    const ping = await expectAnswer(world.client.send('GET', '/v2/', { as: null }), {
      status: 401,
      'docker-distribution-api-version': 'registry/2.0',
    });
    const { realm, service } = challengeOf(ping);
    const query = new URLSearchParams({
      account: OWNER.name,
      client_id: 'docker',
      offline_token: 'true',
      service: service ?? '',
    });
    const answer = await fetch(`${realm}?${query.toString()}`, { headers: { authorization: basic(OWNER) } });
    const body = (await answer.json()) as { token: string; access_token: string; expires_in: number };
    assert.equal(answer.status, 200);
    assert.equal(body.token, body.access_token);
    assert.ok(body.expires_in >= 60);
    await expectAnswer(send('GET', '/v2/', body.token), { status: 200 });
    const wrong = await fetch(`${realm}?${query.toString()}`, {
      headers: { authorization: basic({ ...OWNER, password: 'no' }) },
    });
    assert.equal(wrong.status, 401);
  });

  /** POST, one bare chunked PATCH, empty PUT, HEAD. */
  async function pushLayer(token: string, bytes: Buffer): Promise<string> {
    const digest = sha256(bytes);
    await expectAnswer(send('HEAD', `/v2/${REPOSITORY}/blobs/${digest}`, token), { status: 404 });
    const opened = await expectAnswer(send('POST', `/v2/${REPOSITORY}/blobs/uploads/`, token), {
      status: 202,
      'docker-upload-uuid': /^[0-9a-f-]+$/,
      location: /^\/v2\//,
    });
    const half = bytes.length / 2;
    const body = [bytes.subarray(0, half), bytes.subarray(half)];
    const patched = await expectAnswer(send('PATCH', String(opened.headers.location), token, { body }), {
      status: 202,
      range: `0-${bytes.length - 1}`,
      'docker-upload-uuid': String(opened.headers['docker-upload-uuid']),
    });
    const put = `${patched.headers.location}?digest=${encodeURIComponent(digest)}`;
    await expectAnswer(send('PUT', put, token, { headers: { 'content-length': '0' } }), {
      status: 201,
      'docker-content-digest': digest,
    });
    await expectAnswer(send('HEAD', `/v2/${REPOSITORY}/blobs/${digest}`, token), {
      status: 200,
      'content-length': String(bytes.length),
    });
    return digest;
  }

  it('docker push: five layers at once as bare chunked PATCHes, HEAD right after PUT, the digest of the manifest', async () => {
    for (const person of [OWNER, PUSHER]) {
      const token = await world.token(person, `repository:${REPOSITORY}:push,pull`);
      const blobs = Array.from({ length: 5 }, () => randomBytes(128 * 1024));
      const digests = await Promise.all(blobs.map((bytes) => pushLayer(token, bytes)));
      const type = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
      const descriptors = digests.map((digest) => ({ mediaType: type, digest, size: 128 * 1024 }));
      const [config, ...layers] = descriptors;
      const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
      const manifest = JSON.stringify({
        schemaVersion: 2,
        mediaType,
        config: { ...config, mediaType: 'application/vnd.docker.container.image.v1+json' },
        layers,
      });
      await expectAnswer(
        send('PUT', `/v2/${REPOSITORY}/manifests/latest`, token, {
          headers: { 'content-type': mediaType },
          body: manifest,
        }),
        { status: 201, 'docker-content-digest': sha256(manifest) },
      );
    }
  });

  it('docker push: a mount that is not possible, up to four times, is 202 and a session that works', async () => {
    const token = await world.token(OWNER, `repository:${REPOSITORY}:push,pull`);
    const bytes = randomBytes(1000);
    for (const from of ['other/a', 'other/b', 'ghost/none', 'ghost/nowhere']) {
      const wide = await world.token(OWNER, `repository:${REPOSITORY}:push,pull repository:${from}:pull`);
      const path = `/v2/${REPOSITORY}/blobs/uploads/?from=${from}&mount=${sha256(bytes)}`;
      const opened = await expectAnswer(send('POST', path, wide), { status: 202, location: /./ });
      const location = String(opened.headers.location);
      await expectAnswer(send('PATCH', location, token, { body: [bytes] }), { status: 202 });
      await expectAnswer(send('DELETE', location, token), { status: 204 });
    }
  });

  it('docker pull: HEAD of the tag, GET by digest, three blobs at once, resumed by bytes=N- with 206', async () => {
    const image = await world.client.pushImage(REPOSITORY, 'pull');
    const token = await world.token(OWNER, `repository:${REPOSITORY}:pull`);
    const headers = { accept: DOCKER_TYPES };
    const head = await expectAnswer(send('HEAD', `/v2/${REPOSITORY}/manifests/pull`, token, { headers }), {
      status: 200,
      'content-type': IMAGE,
      'content-length': String(image.bytes.length),
      'docker-content-digest': image.digest,
    });
    const digest = String(head.headers['docker-content-digest']);
    const got = await send('GET', `/v2/${REPOSITORY}/manifests/${digest}`, token, { headers });
    assert.deepEqual(got.body, image.bytes);
    const blobs = Array.from({ length: 3 }, () => randomBytes(200_000));
    for (const bytes of blobs) await world.client.pushBlob(REPOSITORY, bytes);
    const parts = await Promise.all(
      blobs.map(async (bytes) => {
        const path = `/v2/${REPOSITORY}/blobs/${sha256(bytes)}`;
        const rest = await expectAnswer(send('GET', path, token, { headers: { range: 'bytes=150000-' } }), {
          status: 206,
          'content-range': 'bytes 150000-199999/200000',
          'content-length': '50000',
        });
        return rest.body.equals(bytes.subarray(150_000));
      }),
    );
    assert.deepEqual(parts, [true, true, true]);
  });
});

describe('section 4, containerd, nerdctl and docker with the containerd store', () => {
  let world: WireWorld;
  let image: Awaited<ReturnType<WireWorld['client']['pushImage']>>;
  before(async () => {
    world = await openWireWorld();
    image = await world.client.pushImage(REPOSITORY, 'latest');
  });
  after(() => world[Symbol.asyncDispose]());

  it('resolve: POST /token with a charset first, HEAD by tag or digest with Accept, ns= of this host', async () => {
    const form = new URLSearchParams({
      client_id: 'containerd-client',
      grant_type: 'password',
      service: world.registry.config.auth.service,
      scope: `repository:${REPOSITORY}:pull`,
      username: OWNER.name,
      password: OWNER.password,
    });
    const answer = await fetch(`${world.registry.registryUrl}/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
      body: form.toString(),
    });
    const { access_token: token } = (await answer.json()) as { access_token: string };
    for (const reference of ['latest', image.digest]) {
      for (const ns of [
        '',
        `?ns=${encodeURIComponent(new URL(world.registry.registryUrl).host)}`,
        '?unknown=1&x[]=%7B',
      ]) {
        await expectAnswer(
          world.client.send('HEAD', `/v2/${REPOSITORY}/manifests/${reference}${ns}`, {
            as: null,
            headers: { authorization: `Bearer ${token}`, accept: `${IMAGE}, */*` },
          }),
          {
            status: 200,
            'content-type': IMAGE,
            'content-length': String(image.bytes.length),
            'docker-content-digest': image.digest,
          },
        );
      }
    }
  });

  it('fetch: Accept-Encoding never changes blobs or manifests', async () => {
    const headers = { 'accept-encoding': 'zstd, gzip, deflate' };
    for (const path of [`manifests/${image.digest}`, `blobs/${image.layer}`]) {
      const got = await expectAnswer(world.client.send('GET', `/v2/${REPOSITORY}/${path}`, { headers }), {
        status: 200,
        'content-encoding': null,
        'transfer-encoding': null,
      });
      assert.equal(sha256(got.body), path.split('/')[1]);
    }
  });

  it('fetch: a digest that is no manifest is 404 there and 200 below blobs', async () => {
    await expectAnswer(world.client.send('GET', `/v2/${REPOSITORY}/manifests/${image.layer}`), {
      status: 404,
    });
    await expectAnswer(world.client.send('HEAD', `/v2/${REPOSITORY}/blobs/${image.layer}`), {
      status: 200,
      'content-length': /^\d+$/,
    });
  });

  it('push: POST, then one PUT with the whole body; a refused mount with a narrow token is 401, then 202', async () => {
    const bytes = randomBytes(70_000);
    await world.client.pushBlob('ghost/source', bytes);
    const narrow = await world.token(OWNER, 'repository:ghost/target:pull,push');
    const path = `/v2/ghost/target/blobs/uploads/?mount=${sha256(bytes)}&from=ghost/source`;
    const ask = { as: null, headers: { authorization: `Bearer ${narrow}` } };
    const refused = await expectAnswer(world.client.send('POST', path, ask), { status: 401 });
    assert.equal(challengeOf(refused)['error'], 'insufficient_scope');
    assert.match(
      challengeOf(refused)['scope'] ?? '',
      /repository:ghost\/target:pull,push repository:ghost\/source:pull/,
    );
    const wide = await world.token(OWNER, challengeOf(refused)['scope'] ?? '');
    const headers = { authorization: `Bearer ${wide}` };
    await expectAnswer(world.client.send('POST', path, { as: null, headers }), { status: 201 });
    const opened = await world.client.send('POST', '/v2/ghost/target/blobs/uploads/', ask);
    const other = randomBytes(1000);
    const put = `${opened.headers.location}?digest=${sha256(other)}`;
    await expectAnswer(
      world.client.send('PUT', put, {
        ...ask,
        headers: { ...ask.headers, 'content-type': 'application/octet-stream' },
        body: other,
      }),
      { status: 201, 'docker-content-digest': sha256(other) },
    );
    const foreign = `/v2/other/x/blobs/uploads/?mount=${sha256(bytes)}&from=ghost/source`;
    await expectAnswer(world.client.send('POST', foreign, { as: STRANGER }), { status: 202 });
  });

  it('fetch: parallel ranged GETs that hang up after one chunk leave no file open', async () => {
    const digest = await world.client.pushBlob(REPOSITORY, randomBytes(8 * 1024 * 1024));
    const get = (from: number): string =>
      `GET /v2/${REPOSITORY}/blobs/${digest} HTTP/1.1\r\nHost: r\r\nAuthorization: ${basic(OWNER)}\r\nRange: bytes=${from}-\r\n\r\n`;
    await Promise.all(
      Array.from({ length: 12 }, (_, index) => hangUp(world.port, get(index * 1000), 'first bytes')),
    );
    await eventually(
      () => world.openFiles().length === 0,
      () => `still open: ${world.openFiles().join()}`,
    );
  });
});
