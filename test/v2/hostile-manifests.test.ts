import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { CONFIG, IMAGE, INDEX, indexOf, LAYER, sha256 } from './v2-client.ts';

const REPOSITORY = 'ghost/parsing';
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';
const LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

describe('D, hostile manifests over the wire', () => {
  let world: WireWorld;
  let layer: { mediaType: string; digest: string; size: number };
  let config: typeof layer;
  let child: typeof layer;
  before(async () => {
    world = await openWireWorld();
    const image = await world.client.pushImage(REPOSITORY, null);
    layer = { mediaType: LAYER, digest: image.layer, size: 9 };
    config = { mediaType: CONFIG, digest: image.config, size: 17 };
    child = { mediaType: IMAGE, digest: image.digest, size: image.bytes.length };
  });
  after(() => world[Symbol.asyncDispose]());

  const image = (more: object = {}): string =>
    JSON.stringify({ schemaVersion: 2, mediaType: IMAGE, config, layers: [layer], ...more });
  /** Text in place of a member: what `JSON.stringify` would not write. */
  const splice = (member: string): string => `${image().slice(0, -1)},${member}}`;
  const sized = (size: string): string =>
    image({ layers: [] }).replace(
      '"layers":[]',
      `"layers":[{"mediaType":"${LAYER}","digest":"${layer.digest}","size":${size}}]`,
    );
  const nested = (depth: number): string => splice(`"x":${'['.repeat(depth)}${']'.repeat(depth)}`);

  const refused: readonly (readonly [string, () => string, string?])[] = [
    ['D1 layers and manifests in one body', () => image({ manifests: [child] })],
    [
      'D1 config and manifests in an index',
      () => JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [child], config }),
      INDEX,
    ],
    ['D1 a mediaType other than the Content-Type', () => image(), DOCKER],
    ['D1 an index sent as an image', () => JSON.stringify({ schemaVersion: 2, manifests: [child] }), IMAGE],
    [
      'D1 an image sent as an index',
      () => JSON.stringify({ schemaVersion: 2, config, layers: [layer] }),
      INDEX,
    ],
    ['D1 a Content-Type that is no manifest', () => image(), 'text/html'],
    [
      'D1 schema 1',
      () => JSON.stringify({ schemaVersion: 1, fsLayers: [] }),
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
    ],
    ['D2 layers twice', () => splice('"layers":[]')],
    ['D2 Layers in another case', () => splice('"Layers":[]')],
    ['D2 a folded letter that Go takes for k or s', () => splice('"layer\u017f":[]')],
    ['D2 a key written with escapes, twice', () => splice('"\\u006cayers":[]')],
    [
      'D2 digest twice in a descriptor',
      () => image().replace('"size":9', `"size":9,"digest":"${sha256('x')}"`),
    ],
    ['D2 Digest beside digest', () => image().replace('"size":9', `"size":9,"Digest":"${sha256('x')}"`)],
    ['D2 annotations twice', () => splice('"annotations":{"a":"1"},"annotations":{"a":"2"}')],
    ['D3 nested too deep', () => nested(2_000)],
    ['D3 nested as deep as a body allows', () => nested(1_000_000)],
    [
      'D3 more descriptors than allowed',
      () => image({ layers: Array.from({ length: 10_001 }, () => layer) }),
    ],
    ['D3 a million values', () => splice(`"x":[${'0,'.repeat(1_000_000)}0]`)],
    ['D3 a size below zero', () => sized('-1')],
    ['D3 a size of a fraction', () => sized('1.5')],
    ['D3 a size beyond 2^53', () => sized('9007199254740993')],
    ['D3 a size beyond all numbers', () => sized('1e999')],
    ['D3 a size in words', () => sized('"9"')],
    [
      'D3 data of other bytes',
      () => image({ layers: [{ ...layer, data: Buffer.from('layer two').toString('base64') }] }),
    ],
    ['D3 data of another length', () => image({ layers: [{ ...layer, data: 'AAAA' }] })],
    ['D3 data that is no base64', () => image({ layers: [{ ...layer, data: '~~~~' }] })],
    ['D3 an annotation that is no text', () => image({ annotations: { a: { b: 1 } } })],
    ['D3 no JSON', () => '{"schemaVersion":2,'],
    ['D3 nothing', () => ''],
    ['D3 a list', () => '[]'],
    ['D3 a byte order mark', () => `\ufeff${image()}`],
    [
      'D5 layers that are an object called __proto__',
      () => image().replace('"layers":[', '"layers":{"__proto__":[').replace(']}', ']}}'),
    ],
    ['D6 a digest that leads out', () => image().replaceAll(layer.digest, 'sha256:../../../etc/passwd')],
    [
      'D6 a digest of an algorithm nobody has',
      () => image().replaceAll(layer.digest, `md5:${'0'.repeat(32)}`),
    ],
    [
      'D6 a digest in upper case',
      () => image().replaceAll(layer.digest, layer.digest.toUpperCase().replace('SHA256', 'sha256')),
    ],
  ];
  for (const [what, body, type] of refused) {
    it(`${what}, is MANIFEST_INVALID with a sentence and leaves no tag`, async () => {
      const ask = type === undefined ? {} : { type };
      const answer = await expectAnswer(world.client.putManifest(REPOSITORY, 'refused', body(), ask), {
        status: 400,
      });
      assert.equal(answer.code, 'MANIFEST_INVALID');
      assert.ok(answer.message.length > 10 && answer.message.length < 600);
      await expectAnswer(world.client.send('HEAD', `/v2/${REPOSITORY}/manifests/refused`), { status: 404 });
    });
  }

  it('D1 the first type of a digest stays, whoever pushes its bytes as another', async () => {
    const bytes = JSON.stringify({ schemaVersion: 2, manifests: [child] });
    await expectAnswer(world.client.putManifest(REPOSITORY, 'typed', bytes, { type: INDEX }), {
      status: 201,
    });
    for (const reference of ['typed', 'another', sha256(bytes)]) {
      const answer = await expectAnswer(
        world.client.putManifest(REPOSITORY, reference, bytes, { type: LIST }),
        { status: 400 },
      );
      assert.equal(answer.code, 'MANIFEST_INVALID');
    }
    await expectAnswer(
      world.client.send('GET', `/v2/${REPOSITORY}/manifests/typed`, { headers: { accept: LIST } }),
      {
        status: 200,
        'content-type': INDEX,
      },
    );
  });

  it('D2 keys below one that nobody reads, in whatever case and however often, come back byte for byte', async () => {
    const bytes = splice('"x":{"a":1,"a":2,"Layers":1,"layers":2}');
    await expectAnswer(world.client.putManifest(REPOSITORY, 'odd', bytes), { status: 201 });
    assert.equal((await world.client.send('GET', `/v2/${REPOSITORY}/manifests/odd`)).body.toString(), bytes);
  });

  it('D4 indexes that share their children, 24 levels of two paths each, are walked once each', async () => {
    await using strict = await openWireWorld({ env: { DRIFT_IMMUTABLE_TAGS: 'top' } });
    const { client } = strict;
    const leaf = await client.pushImage(REPOSITORY, null);
    let below = { digest: leaf.digest, size: leaf.bytes.length, mediaType: IMAGE };
    for (let level = 0; level < 24; level++) {
      const twice = indexOf([below, below]);
      below = { digest: sha256(twice), size: twice.length, mediaType: INDEX };
      const reference = level === 23 ? 'top' : below.digest;
      await expectAnswer(client.putManifest(REPOSITORY, reference, twice, { type: INDEX }), { status: 201 });
    }
    await expectAnswer(client.send('DELETE', `/v2/${REPOSITORY}/manifests/${leaf.digest}`), { status: 403 });
  });

  it('D5 names that mean something to JavaScript, are tags, repositories and annotations like any other', async () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'];
    const subject = { ...child };
    for (const name of names) {
      const bytes = `${image({ subject }).slice(0, -1)},"annotations":{"${name}":"mine"}}`;
      await expectAnswer(world.client.putManifest(REPOSITORY, name, bytes), { status: 201 });
      const pulled = await world.client.send('GET', `/v2/${REPOSITORY}/manifests/${name}`);
      assert.equal(pulled.body.toString(), bytes);
    }
    const { tags } = (await world.client.send('GET', `/v2/${REPOSITORY}/tags/list`)).json;
    assert.ok(names.every((name) => tags.includes(name)));
    const list = await world.client.send('GET', `/v2/${REPOSITORY}/referrers/${child.digest}`);
    for (const name of names)
      assert.match(list.body.toString(), new RegExp(`"annotations":\\{"${name}":"mine"\\}`));
    await world.client.pushImage('ghost/constructor', 'constructor');
    await expectAnswer(world.client.send('GET', '/v2/constructor/tags/list'), { status: 404 });
    assert.equal(({} as Record<string, unknown>)['mine'], undefined);
  });

  const digests = [
    'sha256:..%2F..%2F..%2Fetc%2Fpasswd',
    'sha256:../../../etc/passwd',
    `sha256:${'0'.repeat(63)}`,
    `sha256:${'0'.repeat(65)}`,
    `sha256:${'G'.repeat(64)}`,
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'0'.repeat(62)}%00%00`,
    `../sha256:${'0'.repeat(64)}`,
    `sha1:${'0'.repeat(40)}`,
    `__proto__:${'0'.repeat(64)}`,
    `sha256+b64:${'0'.repeat(64)}`,
    ':',
  ];
  for (const digest of digests) {
    it(`D6 ${digest.slice(0, 40)}, as a digest, is 400 or 404 through every door and no path`, async () => {
      const query = encodeURIComponent(decodeURIComponent(digest));
      const location = await world.client.startUpload(REPOSITORY);
      const requests: readonly (readonly [string, string])[] = [
        ['GET', `/v2/${REPOSITORY}/blobs/${digest}`],
        ['DELETE', `/v2/${REPOSITORY}/blobs/${digest}`],
        ['GET', `/v2/${REPOSITORY}/manifests/${digest}`],
        ['PUT', `/v2/${REPOSITORY}/manifests/${digest}`],
        ['GET', `/v2/${REPOSITORY}/referrers/${digest}`],
        ['GET', `/v2/${REPOSITORY}/referrers/${child.digest}?last=${query}`],
        ['POST', `/v2/${REPOSITORY}/blobs/uploads/?digest=${query}`],
        ['POST', `/v2/${REPOSITORY}/blobs/uploads/?mount=${query}`],
        ['PUT', `${location}?digest=${query}`],
      ];
      for (const [method, path] of requests) {
        const answer = await world.client.send(method, path);
        assert.ok(answer.status === 400 || answer.status === 404, `${method} ${path}: ${answer.status}`);
        assert.doesNotMatch(answer.body.toString(), /root:|ENOENT|\/tmp\//);
      }
    });
  }

  it('D7 what pushers wrote, goes out with headers that keep a browser from running it', async () => {
    const html = Buffer.from('<html><script>alert(1)</script></html>');
    const digest = await world.client.pushBlob(REPOSITORY, html);
    const safe = {
      'x-content-type-options': 'nosniff',
      'content-security-policy': /default-src 'none'.*sandbox/,
    };
    const attached = {
      ...safe,
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
    };
    const path = `/v2/${REPOSITORY}/blobs/${digest}`;
    for (const method of ['GET', 'HEAD']) {
      await expectAnswer(world.client.send(method, path, { headers: { accept: 'text/html' } }), {
        status: 200,
        ...attached,
      });
    }
    await expectAnswer(world.client.send('GET', path, { headers: { range: 'bytes=0-5' } }), {
      status: 206,
      ...attached,
    });
    await expectAnswer(world.client.send('GET', path, { headers: { range: 'bytes=0-5,9-12' } }), {
      status: 206,
      ...safe,
      'content-type': /^multipart\/byteranges/,
      'content-disposition': 'attachment',
    });
    await expectAnswer(world.client.send('GET', `/v2/${REPOSITORY}/manifests/${child.digest}`), {
      status: 200,
      ...safe,
    });
    const error = await world.client.send('GET', `/v2/${REPOSITORY}/manifests/${encodeURIComponent('<b>')}`);
    assert.equal(error.headers['x-content-type-options'], 'nosniff');
    assert.match(String(error.headers['content-type']), /^application\/json/);
  });
});
