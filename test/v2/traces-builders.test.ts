import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { IMAGE, INDEX, LAYER, PUSHER, sha256 } from './v2-client.ts';

const REPOSITORY = 'ghost/tools';
const UPLOADS = `/v2/${REPOSITORY}/blobs/uploads/`;

let world: WireWorld;
before(async () => {
  world = await openWireWorld();
});
after(() => world[Symbol.asyncDispose]());

describe('section 4, BuildKit, foreign layers, zb, curl', () => {
  it('buildx: an index with attestations, of platforms unknown/unknown, whose blobs went up in parallel several times', async () => {
    const shared = randomBytes(50_000);
    const pushes = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const opened = await world.client.send('POST', UPLOADS);
        const put = `${opened.headers.location}?digest=${sha256(shared)}`;
        return (await world.client.send('PUT', put, { body: shared })).status;
      }),
    );
    assert.deepEqual(pushes, [201, 201, 201, 201, 201, 201]);
    const image = await world.client.pushImage(REPOSITORY, null, { content: 'platform' });
    const attestation = await world.client.pushImage(REPOSITORY, null, {
      content: 'attestation',
      artifactType: 'application/vnd.docker.attestation.manifest.v1+json',
      subject: { mediaType: IMAGE, digest: image.digest, size: image.bytes.length },
    });
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [
        {
          mediaType: IMAGE,
          digest: image.digest,
          size: image.bytes.length,
          platform: { os: 'linux', architecture: 'amd64' },
        },
        {
          mediaType: IMAGE,
          digest: attestation.digest,
          size: attestation.bytes.length,
          platform: { os: 'unknown', architecture: 'unknown' },
          annotations: {
            'vnd.docker.reference.type': 'attestation-manifest',
            'vnd.docker.reference.digest': image.digest,
          },
        },
      ],
    });
    await expectAnswer(world.client.putManifest(REPOSITORY, 'buildx', index, { type: INDEX }), {
      status: 201,
    });
  });

  it('BuildKit, the older cache: an index whose entries are layer blobs and a config', async () => {
    const layer = await world.client.pushBlob(REPOSITORY, Buffer.from('cached layer'));
    const config = await world.client.pushBlob(REPOSITORY, Buffer.from('{"cache":1}'));
    const cache = JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [
        { mediaType: LAYER, digest: layer, size: 12 },
        { mediaType: 'application/vnd.buildkit.cacheconfig.v0', digest: config, size: 11 },
      ],
    });
    await expectAnswer(world.client.putManifest(REPOSITORY, 'cache', cache, { type: INDEX }), {
      status: 201,
    });
    await expectAnswer(world.client.send('DELETE', `/v2/${REPOSITORY}/blobs/${layer}`), { status: 403 });
  });

  it('Windows: a layer with urls is neither required nor fetched', async () => {
    const image = await world.client.pushImage('ghost/windows', null);
    const urls = [`${world.registry.registryUrl}/v2/ghost/windows/fetched`];
    const foreign = {
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      digest: sha256('elsewhere'),
      size: 1,
      urls,
    };
    const document = JSON.parse(image.bytes.toString()) as { layers: object[] };
    document.layers.unshift(foreign);
    await expectAnswer(world.client.putManifest('ghost/windows', 'ltsc', JSON.stringify(document)), {
      status: 201,
    });
    assert.equal(
      world.logs.some((line) => line.includes('windows/fetched')),
      false,
    );
  });

  it('zb: the upload address rebuilt from its path alone, for each of PATCH, GET, PUT and DELETE', async () => {
    const bytes = randomBytes(2000);
    const opened = await world.client.send('POST', UPLOADS, { as: PUSHER });
    const path = String(opened.headers.location).split('?')[0] ?? '';
    await expectAnswer(world.client.send('PATCH', path, { as: PUSHER, body: bytes }), { status: 202 });
    await expectAnswer(world.client.send('GET', path, { as: PUSHER }), { status: 204 });
    const put = `${path}?digest=${sha256(bytes)}`;
    await expectAnswer(world.client.send('PUT', put, { as: PUSHER }), { status: 201 });
    const again = await world.client.send('POST', UPLOADS, { as: PUSHER });
    const other = String(again.headers.location).split('?')[0] ?? '';
    await expectAnswer(world.client.send('DELETE', other, { as: PUSHER }), { status: 204 });
  });

  it('curl and browsers: no Accept, and %3A in digests of paths and queries', async () => {
    const image = await world.client.pushImage(REPOSITORY, 'curl', { content: 'curl' });
    for (const path of [`manifests/${image.digest}`, `blobs/${image.layer}`, `referrers/${image.digest}`]) {
      const escaped = path.replace(':', '%3A');
      await expectAnswer(world.client.send('GET', `/v2/${REPOSITORY}/${escaped}`), { status: 200 });
    }
  });
});
