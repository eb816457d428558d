import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { ADMIN, type Answer, basic, IMAGE, indexOf, LAYER, OWNER, sha256 } from './v2-client.ts';

const AGENT = 'Bolt/1.0 (Drift-Registry-Client)';
const ACCEPT = `${IMAGE}, application/vnd.docker.distribution.manifest.v2+json`;

let world: WireWorld;
before(async () => {
  world = await openWireWorld();
});
after(() => world[Symbol.asyncDispose]());

/** As Bolt's client sends it: Basic unasked, its own agent. */
function bolt(
  method: string,
  path: string,
  rest: { type?: string; body?: Uint8Array | string } = {},
): Promise<Answer> {
  const { type, body } = rest;
  const headers = {
    'user-agent': AGENT,
    authorization: basic(OWNER),
    accept: ACCEPT,
    ...(type === undefined ? {} : { 'content-type': type }),
  };
  return world.client.send(method, path, { as: null, headers, ...(body === undefined ? {} : { body }) });
}

describe('Bolt, its native client', () => {
  it('the start-up probe without credentials, GET /v2/features, is neither 2xx nor HTML', async () => {
    for (const path of [
      '/v2/features',
      '/v2/features/',
      '/v2/search?q=x&gaming=true',
      '/v2/gaming/a/b/compatibility',
    ]) {
      const answer = await world.client.send('GET', path, { as: null, headers: { 'user-agent': AGENT } });
      assert.ok(answer.status >= 400, `${path}: ${answer.status}`);
      assert.match(String(answer.headers['content-type']), /^application\/json/);
      assert.doesNotMatch(answer.body.toString(), /</);
    }
    const answer = await world.client.send('GET', '/v2/features', { as: ADMIN });
    assert.ok(answer.status >= 400, 'with credentials neither');
  });

  it('pull: manifest and blobs with Basic unasked; an index is served although it is not accepted', async () => {
    const image = await world.client.pushImage('ghost/game', 'latest');
    const got = await expectAnswer(bolt('GET', '/v2/ghost/game/manifests/latest'), {
      status: 200,
      'content-type': IMAGE,
      'docker-content-digest': image.digest,
    });
    assert.deepEqual(got.body, image.bytes);
    const layer = await expectAnswer(bolt('GET', `/v2/ghost/game/blobs/${image.layer}`), { status: 200 });
    assert.equal(sha256(layer.body), image.layer);
    const index = indexOf([{ digest: image.digest, size: image.bytes.length }]);
    const type = 'application/vnd.oci.image.index.v1+json';
    await world.client.putManifest('ghost/game', 'multi', index, { type });
    const multi = await expectAnswer(bolt('GET', '/v2/ghost/game/manifests/multi'), {
      status: 200,
      'content-type': type,
    });
    assert.deepEqual(multi.body, index);
  });

  it('push: HEAD, POST, one PUT with an unescaped digest, a manifest with unknown keys and null optional fields', async () => {
    const bytes = randomBytes(4000);
    const config = Buffer.from('{"os":"linux"}');
    for (const blob of [bytes, config]) {
      const digest = sha256(blob);
      await expectAnswer(bolt('HEAD', `/v2/ghost/game/blobs/${digest}`), { status: 404 });
      const opened = await expectAnswer(bolt('POST', '/v2/ghost/game/blobs/uploads/'), { status: 202 });
      const location = String(opened.headers.location);
      const put = `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
      const type = 'application/octet-stream';
      await expectAnswer(bolt('PUT', put, { type, body: blob }), { status: 201 });
    }
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: sha256(config),
        size: 14,
        urls: null,
        annotations: null,
      },
      layers: [
        {
          mediaType: LAYER,
          digest: sha256(bytes),
          size: 4000,
          urls: null,
          annotations: null,
          gaming_assets: true,
          system_libraries: false,
          user_data: null,
          cacheable: true,
        },
      ],
      annotations: null,
      subject: null,
      artifactType: null,
    });
    const answer = bolt('PUT', '/v2/ghost/game/manifests/pushed', { type: IMAGE, body: manifest });
    await expectAnswer(answer, { status: 201, 'docker-content-digest': sha256(manifest) });
    assert.equal((await bolt('GET', '/v2/ghost/game/manifests/pushed')).body.toString(), manifest);
  });

  it('a 401 has one WWW-Authenticate header and it is Bearer, with realm, service and scope', async () => {
    const answer = await world.client.send('GET', '/v2/ghost/game/manifests/latest', { as: null });
    const lines = answer.rawHeaders.filter((name) => name.toLowerCase() === 'www-authenticate');
    assert.equal(lines.length, 1);
    assert.match(
      String(answer.headers['www-authenticate']),
      /^Bearer realm="[^"]+",service="[^"]+",scope="repository:ghost\/game:pull"$/,
    );
  });

  it('a name without a slash becomes library/<name>, an ordinary repository', async () => {
    const image = await world.client.pushImage('library/nginx', 'latest');
    const got = await world.client.send('GET', '/v2/library/nginx/manifests/latest', { as: ADMIN });
    assert.deepEqual(got.body, image.bytes);
  });
});

describe('GhostPanel', () => {
  it('the challenge of /v2/, split naively at commas, gives realm and service; a catalog token opens the catalog', async () => {
    const ping = await world.client.send('GET', '/v2/', { as: null });
    const parts = String(ping.headers['www-authenticate'])
      .replace(/^Bearer /, '')
      .split(',');
    const fields = new Map(
      parts.map((part) => {
        const [name = '', ...value] = part.trim().split('=');
        return [name, value.join('=').replaceAll('"', '')];
      }),
    );
    const query = `service=${fields.get('service')}&scope=registry:catalog:*`;
    const answer = await fetch(`${fields.get('realm')}?${query}`, {
      headers: { authorization: basic(OWNER) },
    });
    const { token } = (await answer.json()) as { token: unknown };
    assert.equal(typeof token, 'string');
    const headers = { authorization: `Bearer ${String(token)}` };
    const catalog = await expectAnswer(world.client.send('GET', '/v2/_catalog', { as: null, headers }), {
      status: 200,
    });
    assert.ok(catalog.json.repositories.includes('ghost/game'));
  });
});
