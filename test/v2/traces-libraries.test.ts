import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { IMAGE, INDEX, OWNER, STRANGER, sha256, sha512 } from './v2-client.ts';

const REPOSITORY = 'ghost/tools';
const UPLOADS = `/v2/${REPOSITORY}/blobs/uploads/`;
const EMPTY = '{}';
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';

let world: WireWorld;
before(async () => {
  world = await openWireWorld();
});
after(() => world[Symbol.asyncDispose]());

async function stagedCount(): Promise<number> {
  return (await world.registry.blobs.listStaged(null, 1000)).entries.length;
}

/** A manifest that refers to `subject`, as notation and cosign 3 make them: no layers of an image, an artifact type. */
async function pushReferrer(fields: {
  readonly subject: { readonly digest: string; readonly bytes: Buffer };
  readonly artifactType: string;
  readonly annotations?: Readonly<Record<string, string>>;
}): Promise<{ digest: string; subjectHeader: unknown }> {
  const blob = await world.client.pushBlob(REPOSITORY, Buffer.from(`signature ${fields.artifactType}`));
  await world.client.pushBlob(REPOSITORY, Buffer.from(EMPTY));
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: IMAGE,
    artifactType: fields.artifactType,
    config: { mediaType: EMPTY_TYPE, digest: sha256(EMPTY), size: 2, data: 'e30=' },
    layers: [
      {
        mediaType: 'application/octet-stream',
        digest: blob,
        size: `signature ${fields.artifactType}`.length,
      },
    ],
    subject: { mediaType: IMAGE, digest: fields.subject.digest, size: fields.subject.bytes.length },
    annotations: fields.annotations ?? {},
  });
  const digest = sha256(manifest);
  const answer = await expectAnswer(world.client.putManifest(REPOSITORY, digest, manifest), { status: 201 });
  return { digest, subjectHeader: answer.headers['oci-subject'] };
}

describe('section 4, crane, kaniko, ko and trivy (ggcr)', () => {
  it('the push check, POST then DELETE of the upload, leaves no session and no file', async () => {
    const before = await stagedCount();
    for (let time = 0; time < 3; time++) {
      const headers = { 'content-type': 'application/json' };
      const opened = await expectAnswer(world.client.send('POST', UPLOADS, { headers }), { status: 202 });
      await expectAnswer(world.client.send('DELETE', String(opened.headers.location)), { status: 204 });
    }
    assert.equal(await stagedCount(), before);
  });

  it('a push with origin= beside the mount, a streamed PATCH and a PUT', async () => {
    const bytes = randomBytes(5000);
    const query = `mount=${sha256(bytes)}&from=ghost%2Fnone&origin=index.docker.io`;
    const opened = await expectAnswer(world.client.send('POST', `${UPLOADS}?${query}`), { status: 202 });
    const patched = await world.client.send('PATCH', String(opened.headers.location), { body: [bytes] });
    const put = `${patched.headers.location}?digest=${sha256(bytes)}`;
    await expectAnswer(world.client.send('PUT', put), { status: 201 });
  });

  it('HEAD of a manifest has type, length and digest; Link of a list stays on this host', async () => {
    const image = await world.client.pushImage(REPOSITORY, 'crane-1');
    await world.client.pushImage(REPOSITORY, 'crane-2');
    await expectAnswer(world.client.send('HEAD', `/v2/${REPOSITORY}/manifests/crane-1`), {
      status: 200,
      'content-type': IMAGE,
      'content-length': String(image.bytes.length),
      'docker-content-digest': image.digest,
    });
    await expectAnswer(world.client.send('GET', `/v2/${REPOSITORY}/tags/list?n=1`), {
      status: 200,
      link: /^<\/v2\/ghost\/tools\/tags\/list\?n=1&last=crane-1>; rel="next"$/,
    });
  });
});

describe('section 4, regclient', () => {
  it('an anonymous mount of every blob: 202 is a session that takes the whole blob', async () => {
    const bytes = randomBytes(2000);
    const opened = await expectAnswer(world.client.send('POST', `${UPLOADS}?mount=${sha256(bytes)}`), {
      status: 202,
    });
    const put = `${opened.headers.location}?digest=${sha256(bytes)}`;
    await expectAnswer(world.client.send('PUT', put, { body: bytes }), { status: 201 });
    await expectAnswer(world.client.send('POST', `${UPLOADS}?mount=${sha256(bytes)}`), { status: 201 });
  });

  it('chunks with Content-Range, resumed from a 416 that carries Location and Range, and from the status', async () => {
    const bytes = randomBytes(3000);
    const digest = sha512(bytes);
    const opened = await expectAnswer(world.client.send('POST', `${UPLOADS}?digest-algorithm=sha512`), {
      status: 202,
    });
    const location = String(opened.headers.location);
    const chunk = (start: number, end: number) => ({
      headers: { 'content-range': `${start}-${end - 1}`, 'content-type': 'application/octet-stream' },
      body: bytes.subarray(start, end),
    });
    await expectAnswer(world.client.send('PATCH', location, chunk(0, 1000)), { status: 202, range: '0-999' });
    const refused = await expectAnswer(world.client.send('PATCH', location, chunk(2000, 3000)), {
      status: 416,
      location,
      range: '0-999',
    });
    await expectAnswer(world.client.send('GET', location), { status: 204, location, range: '0-999' });
    await expectAnswer(world.client.send('PATCH', String(refused.headers.location), chunk(1000, 2500)), {
      status: 202,
    });
    const put = `${location}?digest=${digest}`;
    await expectAnswer(world.client.send('PUT', put, chunk(2500, 3000)), {
      status: 201,
      'docker-content-digest': digest,
    });
  });
});

describe('section 4, oras, helm, notation and flux', () => {
  it('oras: the Authorization of the POST again on the Location, 201 with the digest, only then done', async () => {
    const bytes = randomBytes(2000);
    const token = await world.token(OWNER, `repository:${REPOSITORY}:pull,push`);
    const ask = { as: null, headers: { authorization: `Bearer ${token}` } };
    const opened = await expectAnswer(world.client.send('POST', UPLOADS, ask), { status: 202 });
    const put = `${opened.headers.location}?digest=${encodeURIComponent(sha256(bytes))}`;
    await expectAnswer(world.client.send('PUT', put, { ...ask, body: bytes }), {
      status: 201,
      'docker-content-digest': sha256(bytes),
    });
    await expectAnswer(world.client.send('HEAD', `/v2/${REPOSITORY}/blobs/${sha256(bytes)}`, ask), {
      status: 200,
      'accept-ranges': 'bytes',
    });
  });

  it('oras: the referrers ping with a digest of zeros, in a repository that is not there, is an empty index', async () => {
    const zeros = `sha256:${'0'.repeat(64)}`;
    const answer = await expectAnswer(world.client.send('GET', `/v2/ghost/never/referrers/${zeros}`), {
      status: 200,
      'content-type': INDEX,
    });
    assert.deepEqual(answer.json, { schemaVersion: 2, mediaType: INDEX, manifests: [] });
  });

  it('oras: a mount from a repository that the user cannot read is 202, never 401 or 403', async () => {
    const digest = await world.client.pushBlob('ghost/secret', randomBytes(100));
    const path = `/v2/other/mine/blobs/uploads/?mount=${digest}&from=ghost/secret`;
    await expectAnswer(world.client.send('POST', path, { as: STRANGER }), { status: 202 });
    const scope = 'repository:other/mine:pull,push repository:ghost/secret:pull';
    const headers = { authorization: `Bearer ${await world.token(STRANGER, scope)}` };
    await expectAnswer(world.client.send('POST', path, { as: null, headers }), { status: 202 });
  });

  it('helm: a chart whose version has a plus, as a tag of 128 characters, among tags that are no versions', async () => {
    const tag = `1.2.3_${'a'.repeat(122)}`;
    const config = Buffer.from('{"name":"chart","version":"1.2.3"}');
    const chart = Buffer.from('chart');
    const digests = [
      await world.client.pushBlob('ghost/chart', config),
      await world.client.pushBlob('ghost/chart', chart),
    ];
    const manifest = JSON.stringify({
      schemaVersion: 2,
      config: {
        mediaType: 'application/vnd.cncf.helm.config.v1+json',
        digest: digests[0],
        size: config.length,
      },
      layers: [
        {
          mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
          digest: digests[1],
          size: chart.length,
        },
        {
          mediaType: 'application/vnd.cncf.helm.chart.provenance.v1.prov',
          digest: digests[1],
          size: chart.length,
        },
      ],
    });
    for (const each of [tag, 'not-a-version', 'latest']) {
      await expectAnswer(world.client.putManifest('ghost/chart', each, manifest), { status: 201 });
    }
    const list = await world.client.send('GET', '/v2/ghost/chart/tags/list');
    assert.deepEqual(list.json.tags, [tag, 'latest', 'not-a-version']);
    await expectAnswer(world.client.putManifest('ghost/chart', `${tag}a`, manifest), { status: 400 });
  });

  it('notation: a signature by digest, found through the referrers API; the old fallback index goes by digest', async () => {
    const image = await world.client.pushImage(REPOSITORY, 'signed', { content: 'signed' });
    const artifactType = 'application/vnd.cncf.notary.signature';
    const signature = await pushReferrer({ subject: image, artifactType });
    assert.equal(signature.subjectHeader, image.digest);
    const path = `/v2/${REPOSITORY}/referrers/${image.digest}?artifactType=${encodeURIComponent(artifactType)}`;
    const found = await expectAnswer(world.client.send('GET', path), {
      status: 200,
      'oci-filters-applied': 'artifactType',
    });
    assert.deepEqual(
      found.json.manifests.map((entry) => entry.digest),
      [signature.digest],
    );
    const fallback = image.digest.replace(':', '-');
    const indexes = [[], [signature.digest]].map((digests) =>
      JSON.stringify({
        schemaVersion: 2,
        mediaType: INDEX,
        manifests: digests.map((digest) => ({ mediaType: IMAGE, artifactType, digest, size: 1 })),
      }),
    );
    for (const index of indexes) {
      await expectAnswer(world.client.putManifest(REPOSITORY, fallback, index, { type: INDEX }), {
        status: 201,
      });
    }
    const old = `/v2/${REPOSITORY}/manifests/${sha256(indexes[0] ?? '')}`;
    await expectAnswer(world.client.send('DELETE', old), { status: 202 });
    await expectAnswer(world.client.send('HEAD', `/v2/${REPOSITORY}/manifests/${fallback}`), {
      status: 200,
      'docker-content-digest': sha256(indexes[1] ?? ''),
    });
  });
});

describe('section 4, cosign', () => {
  it('cosign 3: an untagged referrer with an empty config, annotations in the list, type in the filter', async () => {
    const image = await world.client.pushImage(REPOSITORY, 'bundled', { content: 'bundled' });
    const artifactType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
    const annotations = { 'dev.sigstore.bundle.predicateType': 'https://sigstore.dev/cosign/sign/v1' };
    const { digest } = await pushReferrer({ subject: image, artifactType, annotations });
    const list = await world.client.send('GET', `/v2/${REPOSITORY}/referrers/${image.digest}`);
    const [entry] = list.json.manifests;
    assert.deepEqual({ ...entry, size: 0 }, { mediaType: IMAGE, digest, size: 0, artifactType, annotations });
  });

  it('cosign 2: the same signature tag rewritten for each signature, even where every tag is immutable', async () => {
    await using strict = await openWireWorld({ env: { DRIFT_IMMUTABLE_TAGS: '*' } });
    const { client } = strict;
    const image = await client.pushImage(REPOSITORY, 'v1');
    const base = image.digest.replace(':', '-');
    for (const suffix of ['.sig', '.att', '.sbom', '']) {
      const first = await client.pushImage(REPOSITORY, `${base}${suffix}`, { content: `one${suffix}` });
      const second = await client.pushImage(REPOSITORY, `${base}${suffix}`, { content: `two${suffix}` });
      assert.notEqual(first.digest, second.digest);
    }
    const other = await client.pushImage(REPOSITORY, null, { content: 'other' });
    for (const tag of ['v1', `${base}.signed`, `${base}.sig.bak`, `x-${base}.sig`, 'sha256-abc.sig']) {
      await client.putManifest(REPOSITORY, tag, image.bytes);
      await expectAnswer(client.putManifest(REPOSITORY, tag, other.bytes), { status: 403 });
    }
  });
});
