import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { type Answer, CONFIG, IMAGE, INDEX, indexOf, LAYER, sha256 } from './v2-client.ts';

const REPOSITORY = 'ghost/checklist';
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

describe('section 1.5, push of manifests', () => {
  it('M3, M4 and M7 images and indexes of every shape, are taken, and those with a subject say so', async () => {
    const config = { mediaType: CONFIG, digest: image.config, size: 17 };
    const layer = { mediaType: LAYER, digest: image.layer, size: 9 };
    const child = { mediaType: IMAGE, digest: image.digest, size: image.bytes.length };
    const subject = { mediaType: IMAGE, digest: sha256('never pushed'), size: 12 };
    const inner = indexOf([child]);
    await expectAnswer(world.client.putManifest(REPOSITORY, sha256(inner), inner, { type: INDEX }), {
      status: 201,
    });
    const shapes: readonly (readonly [string, object])[] = [
      [INDEX, { manifests: [] }],
      [INDEX, { manifests: [{ mediaType: INDEX, digest: sha256(inner), size: inner.length }] }],
      [INDEX, { manifests: [child], artifactType: 'application/vnd.example.list', subject }],
      [INDEX, { manifests: [child], 'x-unknown': { any: [1, 2] } }],
      [IMAGE, { config, layers: [] }],
      [IMAGE, { config, layers: [layer, layer] }],
      [IMAGE, { config, layers: [layer], subject }],
      [
        IMAGE,
        {
          config: { ...config, mediaType: 'application/vnd.custom.config' },
          layers: [{ ...layer, mediaType: 'text/x-custom' }],
        },
      ],
      [
        IMAGE,
        {
          config,
          layers: [
            {
              ...layer,
              mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
              digest: sha256('elsewhere'),
            },
          ],
        },
      ],
      [
        IMAGE,
        { config: { ...config, data: Buffer.from('{"content":"one"}').toString('base64') }, layers: [] },
      ],
    ];
    for (const [type, fields] of shapes) {
      const bytes = JSON.stringify({ schemaVersion: 2, mediaType: type, ...fields });
      const expected = { status: 201, 'oci-subject': 'subject' in fields ? subject.digest : null };
      await expectAnswer(world.client.putManifest(REPOSITORY, 'shape', bytes, { type }), expected);
      assert.equal((await send('GET', manifest('shape'))).body.toString(), bytes);
    }
    const list = await send('GET', `/v2/${REPOSITORY}/referrers/${subject.digest}`);
    assert.equal(list.json.manifests.length, 2);
  });

  it('M5 a manifest of 3.9 MB of annotations, comes back byte for byte and stands in the referrers list', async () => {
    const document = {
      ...(JSON.parse(image.bytes.toString()) as object),
      subject: { mediaType: IMAGE, digest: sha256('of a large one'), size: 1 },
      annotations: Object.fromEntries(
        Array.from({ length: 39 }, (_, index) => [`a${index}`, 'x'.repeat(100_000)]),
      ),
    };
    const bytes = JSON.stringify(document);
    await expectAnswer(world.client.putManifest(REPOSITORY, 'large', bytes), { status: 201 });
    assert.equal(sha256((await send('GET', manifest('large'))).body), sha256(bytes));
    const list = await expectAnswer(send('GET', `/v2/${REPOSITORY}/referrers/${sha256('of a large one')}`), {
      status: 200,
    });
    assert.equal(list.json.manifests[0]?.digest, sha256(bytes));
  });

  it('M6 ten tags and more beside a digest, are all set and all named', async () => {
    const tags = Array.from({ length: 32 }, (_, index) => `many-${index}`);
    const path = `${image.digest}?${tags.map((tag) => `tag=${tag}`).join('&')}`;
    const answer = await expectAnswer(world.client.putManifest(REPOSITORY, path, image.bytes), {
      status: 201,
    });
    const named = answer.rawHeaders.filter((_, index, all) => all[index - 1]?.toLowerCase() === 'oci-tag');
    assert.deepEqual(
      named.flatMap((value) => value.split(', ')),
      tags,
    );
    for (const tag of tags) await expectAnswer(send('HEAD', manifest(tag)), { status: 200 });
  });
});

describe('section 1.6, discovery', () => {
  it('D2 and D4 1,200 tags, without n, come in one response without Link; last may be any text', async () => {
    const tags = Array.from({ length: 1200 }, (_, index) => `t${String(index).padStart(4, '0')}`);
    const repository = 'ghost/many';
    const { digest, bytes } = await world.client.pushImage(repository, null);
    for (let from = 0; from < tags.length; from += 30) {
      const query = tags
        .slice(from, from + 30)
        .map((tag) => `tag=${tag}`)
        .join('&');
      await expectAnswer(world.client.putManifest(repository, `${digest}?${query}`, bytes), { status: 201 });
    }
    const all = await expectAnswer(send('GET', `/v2/${repository}/tags/list`), { status: 200, link: null });
    assert.deepEqual(all.json.tags, tags);
    const rest = await send(
      'GET',
      `/v2/${repository}/tags/list?last=${encodeURIComponent('t1197 & no tag/at all')}`,
    );
    assert.deepEqual(rest.json.tags, ['t1198', 't1199']);
    const last = await expectAnswer(send('GET', `/v2/${repository}/tags/list?n=2&last=t1197`), {
      status: 200,
      link: null,
    });
    assert.deepEqual(last.json.tags, ['t1198', 't1199']);
  });

  it('D6 an index without artifactType has none in the list, an image that of its config; only an image copies it', async () => {
    const subject = { mediaType: IMAGE, digest: sha256('D6'), size: 2 };
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [],
      subject,
      annotations: { a: 'b' },
    });
    await world.client.putManifest(REPOSITORY, sha256(index), index, { type: INDEX });
    const referrer = await world.client.pushImage(REPOSITORY, null, { subject, content: 'D6' });
    const { manifests } = (await send('GET', `/v2/${REPOSITORY}/referrers/${subject.digest}`)).json;
    const byDigest = new Map(manifests.map((entry) => [entry.digest, entry]));
    assert.deepEqual(byDigest.get(sha256(index)), {
      mediaType: INDEX,
      digest: sha256(index),
      size: index.length,
      annotations: { a: 'b' },
    });
    assert.equal((byDigest.get(referrer.digest) as unknown as { artifactType: string }).artifactType, CONFIG);
  });

  it('D7 a filter with a plus, escaped or as it stands, finds what has that type and nothing else', async () => {
    const subject = { mediaType: IMAGE, digest: sha256('D7'), size: 2 };
    const plus = await world.client.pushImage(REPOSITORY, null, {
      subject,
      content: 'plus',
      artifactType: 'application/vnd.a+json',
    });
    await world.client.pushImage(REPOSITORY, null, {
      subject,
      content: 'minus',
      artifactType: 'application/vnd.a',
    });
    for (const type of ['application/vnd.a+json', 'application%2Fvnd.a%2Bjson', 'application/vnd.a%2bjson']) {
      const answer = await expectAnswer(
        send('GET', `/v2/${REPOSITORY}/referrers/${subject.digest}?artifactType=${type}`),
        {
          status: 200,
          'oci-filters-applied': 'artifactType',
        },
      );
      assert.deepEqual(
        answer.json.manifests.map((entry) => entry.digest),
        [plus.digest],
        type,
      );
    }
  });
});

describe('section 1.7, management', () => {
  it('X1 and X2 a tag, a digest and a blob, deleted twice, are 202 and then 404', async () => {
    const gone = await world.client.pushImage('ghost/gone', 'one', { content: 'gone' });
    await world.client.putManifest('ghost/gone', 'two', gone.bytes);
    for (const path of ['manifests/one', `manifests/${gone.digest}`, `blobs/${gone.layer}`]) {
      await expectAnswer(send('DELETE', `/v2/ghost/gone/${path}`), { status: 202 });
      await expectAnswer(send('HEAD', `/v2/ghost/gone/${path}`), { status: 404 });
      await expectAnswer(send('DELETE', `/v2/ghost/gone/${path}`), { status: 404 });
      const stays = path === 'manifests/one' ? 200 : 404;
      await expectAnswer(send('HEAD', '/v2/ghost/gone/manifests/two'), { status: stays });
    }
  });
});
