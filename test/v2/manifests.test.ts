import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  type Answer,
  CONFIG,
  IMAGE,
  INDEX,
  indexOf,
  LAYER,
  OWNER,
  PULLER,
  PUSHER,
  STRANGER,
  sha256,
  sha512,
} from './v2-client.ts';
import { startV2, type V2Server } from './v2-server.ts';

const REPOSITORY = 'ghost/demo';
const MANIFESTS = `/v2/${REPOSITORY}/manifests`;

describe('manifests', () => {
  let v2: V2Server;
  let image: Awaited<ReturnType<V2Server['client']['pushImage']>>;
  before(async () => {
    v2 = await startV2();
    image = await v2.client.pushImage(REPOSITORY, 'latest');
  });
  after(() => v2.stop());

  it('GET and HEAD, by tag and digest, bring exactly what was pushed', async () => {
    for (const reference of ['latest', image.digest, encodeURIComponent(image.digest)]) {
      const answer = await v2.client.send('GET', `${MANIFESTS}/${reference}`);
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.body, image.bytes);
      assert.equal(answer.headers['content-type'], IMAGE);
      assert.equal(answer.headers['docker-content-digest'], image.digest);
      const head = await v2.client.send('HEAD', `${MANIFESTS}/${reference}`);
      assert.equal(head.status, 200);
      assert.equal(head.headers['content-length'], String(image.bytes.length));
      assert.equal(head.headers['docker-content-digest'], image.digest);
      assert.equal(head.headers['content-type'], IMAGE);
    }
  });

  it('GET, with If-None-Match of the digest, is 304', async () => {
    const headers = { 'if-none-match': `"${image.digest}"` };
    assert.equal((await v2.client.send('GET', `${MANIFESTS}/latest`, { headers })).status, 304);
  });

  it('GET, of what is not there, is 404 in a known and in an unknown repository', async () => {
    for (const path of [
      `${MANIFESTS}/absent`,
      `${MANIFESTS}/${sha256('absent')}`,
      '/v2/ghost/absent/manifests/latest',
    ]) {
      const answer = await v2.client.send('GET', path);
      assert.equal(answer.status, 404);
      assert.equal(answer.code, 'MANIFEST_UNKNOWN');
    }
  });

  it('PUT, of a manifest, answers where it can be pulled and by which digest', async () => {
    const answer = await v2.client.putManifest(REPOSITORY, 'again', image.bytes, {
      type: `${IMAGE}; charset=utf-8`,
    });
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.location, `${MANIFESTS}/${image.digest}`);
    assert.equal(answer.headers['docker-content-digest'], image.digest);
    assert.equal((await v2.client.send('GET', `${MANIFESTS}/again`)).headers['content-type'], IMAGE);
  });

  it('PUT ?tag=, beside a digest, sets each tag; beside a tag it is 400; malformed it is 400; too many are 414', async () => {
    for (const digestOf of [sha256, sha512]) {
      const digest = digestOf(image.bytes);
      const many = Array.from({ length: 10 }, (_, index) => `t-${digest.slice(0, 6)}-${index}`);
      const query = many.map((tag) => `tag=${tag}`).join('&');
      const answer = await v2.client.putManifest(REPOSITORY, `${digest}?${query}`, image.bytes);
      assert.equal(answer.status, 201);
      const told = answer.rawHeaders.filter(
        (_, index, all) => index % 2 === 1 && all[index - 1] === 'OCI-Tag',
      );
      assert.deepEqual(told, many);
      const pulled = await v2.client.send('HEAD', `${MANIFESTS}/${many[9]}`);
      assert.equal(pulled.headers['docker-content-digest'], digest);
    }
    assert.equal((await v2.client.putManifest(REPOSITORY, 'a?tag=b', image.bytes)).status, 400);
    assert.equal(
      (await v2.client.putManifest(REPOSITORY, `${image.digest}?tag=.bad`, image.bytes)).status,
      400,
    );
    const flood = Array.from({ length: 2000 }, (_, index) => `tag=f${index}`).join('&');
    assert.equal(
      (await v2.client.putManifest(REPOSITORY, `${image.digest}?${flood}`, image.bytes)).status,
      414,
    );
  });

  it('PUT, by a digest that is not its own or malformed, is 400', async () => {
    const other = await v2.client.putManifest(REPOSITORY, sha256('other'), image.bytes);
    assert.equal(other.status, 400);
    assert.equal(other.code, 'DIGEST_INVALID');
    const malformed = await v2.client.putManifest(REPOSITORY, 'sha256:baddigeststring', image.bytes);
    assert.equal(malformed.status, 400);
    assert.equal((await v2.client.send('GET', `${MANIFESTS}/sha256:baddigeststring`)).status, 400);
  });

  it('PUT, of bytes already there with another type, is refused: the first type stays', async () => {
    const bytes = Buffer.from(image.bytes.toString().replace(`"mediaType":"${IMAGE}",`, ''));
    assert.equal((await v2.client.putManifest(REPOSITORY, 'typed', bytes)).status, 201);
    const docker = 'application/vnd.docker.distribution.manifest.v2+json';
    const answer = await v2.client.putManifest(REPOSITORY, 'retyped', bytes, { type: docker });
    assert.equal(answer.status, 400);
    assert.equal(answer.code, 'MANIFEST_INVALID');
    await v2.client.send('DELETE', `${MANIFESTS}/${sha256(bytes)}`);
    assert.equal((await v2.client.putManifest(REPOSITORY, 'retyped', bytes, { type: docker })).status, 400);
  });

  it('PUT, of more than 4 MiB, is 413 whether its length was announced or not', async () => {
    const bytes = Buffer.alloc(4 * 1024 * 1024 + 1, 0x20);
    const whole = await v2.client.putManifest(REPOSITORY, 'huge', bytes);
    assert.equal(whole.status, 413);
    const chunked = await v2.client.send('PUT', `${MANIFESTS}/huge`, {
      headers: { 'content-type': IMAGE },
      body: [bytes],
    });
    assert.equal(chunked.status, 413);
    assert.equal(chunked.code, 'SIZE_INVALID');
  });

  it('PUT, of exactly 4 MiB, is accepted', async () => {
    const bytes = Buffer.alloc(4 * 1024 * 1024, 0x20);
    bytes.set(image.bytes);
    assert.equal((await v2.client.putManifest(REPOSITORY, 'large', bytes)).status, 201);
    assert.deepEqual((await v2.client.send('GET', `${MANIFESTS}/large`)).body, bytes);
  });

  it('PUT, with a layer or config that this repository does not serve, names what is missing', async () => {
    // The blobs are in the registry, but elsewhere: knowing their digests gives no right to them.
    const answer = await v2.client.putManifest('other/thief', 'latest', image.bytes, { as: STRANGER });
    assert.equal(answer.status, 400);
    assert.equal(answer.code, 'MANIFEST_BLOB_UNKNOWN');
    assert.deepEqual(new Set(answer.json.errors[0]?.detail.digests), new Set([image.config, image.layer]));
    assert.equal((await v2.client.send('GET', '/v2/other/thief/tags/list')).status, 404);
  });

  it('PUT, with foreign layers and an absent subject, needs neither', async () => {
    const subject = { mediaType: IMAGE, digest: sha256('absent subject'), size: 14 };
    const config = await v2.client.pushBlob(REPOSITORY, Buffer.from('{}'));
    const bytes = JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE,
      config: { mediaType: CONFIG, digest: config, size: 2 },
      layers: [
        { mediaType: LAYER, digest: sha256('elsewhere'), size: 9, urls: ['https://example.com/layer'] },
        {
          mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
          digest: sha256('nd'),
          size: 2,
        },
      ],
      subject,
    });
    const answer = await v2.client.putManifest(REPOSITORY, 'foreign', bytes);
    assert.equal(answer.status, 201);
    assert.equal(answer.headers['oci-subject'], subject.digest);
  });

  it('an index, whose children are manifests or blobs of the repository, is accepted; absent ones are not', async () => {
    const child = { digest: image.digest, size: image.bytes.length };
    const blob = { digest: image.layer, size: 9, mediaType: LAYER };
    const bytes = indexOf([child, blob, child]);
    assert.equal((await v2.client.putManifest(REPOSITORY, 'index', bytes, { type: INDEX })).status, 201);
    const repository = await v2.meta.read.repositories.find(REPOSITORY as never);
    const references = await v2.meta.read.manifests.references(
      repository?.id as never,
      sha256(bytes) as never,
    );
    assert.deepEqual(references.map((reference) => reference.kind).sort(), ['blob_child', 'child', 'child']);
    const sparse = indexOf([child, { digest: sha256('absent'), size: 6 }]);
    const refused = await v2.client.putManifest(REPOSITORY, 'sparse', sparse, { type: INDEX });
    assert.equal(refused.code, 'MANIFEST_BLOB_UNKNOWN');
    assert.equal(
      (await v2.client.putManifest(REPOSITORY, 'empty-index', indexOf([]), { type: INDEX })).status,
      201,
    );
  });

  it('PUT, with If-None-Match: * or If-Match, changes only what the client has seen', async () => {
    const next = await v2.client.pushImage(REPOSITORY, 'next', { content: 'next' });
    const put = (headers: Record<string, string>) =>
      v2.client.putManifest(REPOSITORY, 'guarded', next.bytes, { headers });
    assert.equal((await put({ 'if-match': `"${image.digest}"` })).status, 412);
    assert.equal((await put({ 'if-none-match': '*' })).status, 201);
    assert.equal((await put({ 'if-none-match': '*' })).status, 412);
    assert.equal((await put({ 'if-match': `"${image.digest}"` })).status, 412);
    assert.equal((await put({ 'if-match': `"x", "${next.digest}"` })).status, 201);
    assert.equal((await put({ 'if-match': '*' })).status, 201);
  });

  it('DELETE, of a tag, takes the tag alone, at once and on every process', async () => {
    const made = await v2.client.pushImage(REPOSITORY, 'gone', { content: 'gone' });
    assert.equal((await v2.other.send('HEAD', `${MANIFESTS}/gone`)).status, 200);
    assert.equal((await v2.client.send('DELETE', `${MANIFESTS}/gone`, { as: PUSHER })).status, 403);
    assert.equal((await v2.client.send('DELETE', `${MANIFESTS}/gone`, { as: OWNER })).status, 202);
    assert.equal((await v2.other.send('HEAD', `${MANIFESTS}/gone`)).status, 404);
    assert.equal((await v2.client.send('HEAD', `${MANIFESTS}/${made.digest}`)).status, 200);
    assert.equal((await v2.client.send('DELETE', `${MANIFESTS}/gone`)).code, 'MANIFEST_UNKNOWN');
  });

  it('DELETE, of a digest, takes all its tags; pushed again it is back without them', async () => {
    const made = await v2.client.pushImage(REPOSITORY, 'd1', { content: 'digest' });
    await v2.client.putManifest(REPOSITORY, 'd2', made.bytes);
    assert.equal((await v2.client.send('DELETE', `${MANIFESTS}/${made.digest}`)).status, 202);
    for (const reference of ['d1', 'd2', made.digest]) {
      assert.equal((await v2.client.send('HEAD', `${MANIFESTS}/${reference}`)).status, 404);
    }
    assert.equal((await v2.client.send('DELETE', `${MANIFESTS}/${made.digest}`)).status, 404);
    await v2.client.putManifest(REPOSITORY, 'd1', made.bytes);
    assert.equal((await v2.client.send('HEAD', `${MANIFESTS}/${made.digest}`)).status, 200);
    assert.equal((await v2.client.send('HEAD', `${MANIFESTS}/d2`)).status, 404);
  });

  it('moves and deletes, in their transactions, keep history, queue reviews and tell of themselves', async () => {
    const one = await v2.client.pushImage('ghost/told', 'v', { content: 'told one' });
    const two = await v2.client.pushImage('ghost/told', 'v', { content: 'told two' });
    await v2.client.send('DELETE', '/v2/ghost/told/manifests/v');
    const repository = await v2.meta.read.repositories.find('ghost/told' as never);
    const history = await v2.meta.read.tags.history(repository?.id as never, 'v' as never, 10);
    assert.deepEqual(
      history.map((interval) => [interval.digest, interval.endReason, interval.endedBy]),
      [
        [two.digest, 'deleted', 'admin'],
        [one.digest, 'moved', 'admin'],
      ],
    );
    const reviews = await v2.meta.read.queues.reviews({ dueBefore: null, limit: 10_000 });
    const queued = reviews
      .filter((review) => review.kind === 'manifest')
      .map((review) => review.digest as string);
    assert.ok(queued.includes(one.digest) && queued.includes(two.digest));
    const events = await v2.meta.read.queues.events({ afterId: 0, limit: 10_000 });
    assert.deepEqual(
      events
        .filter((event) => event.repository === 'ghost/told' && event.kind.startsWith('tag.'))
        .map((e) => e.kind),
      ['tag.created', 'tag.moved', 'tag.deleted'],
    );
  });

  it('many PUTs to one tag at once, from two processes, leave one of them whole', async () => {
    const images = [];
    for (let index = 0; index < 6; index += 1) {
      images.push(await v2.client.pushImage('ghost/race', null, { content: `race ${index}` }));
    }
    const puts = images.map((made, index) =>
      (index % 2 === 0 ? v2.client : v2.other).putManifest('ghost/race', 'latest', made.bytes),
    );
    assert.ok((await Promise.all(puts)).every((answer) => answer.status === 201));
    const answer = await v2.client.send('GET', '/v2/ghost/race/manifests/latest');
    const winner = images.find((made) => made.digest === answer.headers['docker-content-digest']);
    assert.deepEqual(answer.body, winner?.bytes);
  });

  it('rights: pull reads, push writes and asks, neither deletes', async () => {
    const head = (as: typeof PULLER) => v2.client.send('HEAD', `${MANIFESTS}/latest`, { as });
    assert.equal((await head(PUSHER)).status, 200);
    assert.equal((await head(PULLER)).status, 200);
    assert.equal((await head(STRANGER)).status, 403);
    assert.equal((await v2.client.send('GET', `${MANIFESTS}/latest`, { as: PUSHER })).status, 403);
    assert.equal((await v2.client.putManifest(REPOSITORY, 'x', image.bytes, { as: PULLER })).status, 403);
    assert.equal((await v2.client.putManifest(REPOSITORY, 'x', image.bytes, { as: PUSHER })).status, 201);
    assert.equal((await v2.client.send('DELETE', `${MANIFESTS}/x`, { as: PULLER })).status, 403);
  });
});

describe('immutable tags', () => {
  let v2: V2Server;
  let first: Awaited<ReturnType<V2Server['client']['pushImage']>>;
  let second: typeof first;
  before(async () => {
    v2 = await startV2({ DRIFT_IMMUTABLE_TAGS: 'v*,release' });
    first = await v2.client.pushImage(REPOSITORY, 'v1', { content: 'first' });
    second = await v2.client.pushImage(REPOSITORY, 'free', { content: 'second' });
  });
  after(() => v2.stop());

  async function assertRefused(answer: Promise<Answer>): Promise<void> {
    const { status, code, message } = await answer;
    assert.equal(status, 403);
    assert.equal(code, 'DENIED');
    assert.match(message, /v1.*immutable|immutable.*v1/);
    const head = await v2.client.send('HEAD', `${MANIFESTS}/v1`);
    assert.equal(head.headers['docker-content-digest'], first.digest);
  }

  it('the tag, set to the same digest again, succeeds', async () => {
    assert.equal((await v2.client.putManifest(REPOSITORY, 'v1', first.bytes)).status, 201);
    assert.equal(
      (await v2.client.putManifest(REPOSITORY, `${first.digest}?tag=v1`, first.bytes)).status,
      201,
    );
  });

  it('the tag, through every door that would move or end it, is kept', async () => {
    await assertRefused(v2.client.putManifest(REPOSITORY, 'v1', second.bytes));
    await assertRefused(v2.client.putManifest(REPOSITORY, `${second.digest}?tag=new&tag=v1`, second.bytes));
    assert.equal((await v2.client.send('HEAD', `${MANIFESTS}/new`)).status, 404, 'all or nothing');
    await assertRefused(v2.client.send('DELETE', `${MANIFESTS}/v1`));
    await assertRefused(v2.client.send('DELETE', `${MANIFESTS}/${first.digest}`));
  });

  it('a manifest below an index with such a tag, at any depth, is kept', async () => {
    const child = await v2.client.pushImage(REPOSITORY, null, { content: 'child' });
    const inner = indexOf([{ digest: child.digest, size: child.bytes.length }]);
    await v2.client.putManifest(REPOSITORY, sha256(inner), inner, { type: INDEX });
    const outer = indexOf([{ digest: sha256(inner), size: inner.length, mediaType: INDEX }]);
    await v2.client.putManifest(REPOSITORY, 'release', outer, { type: INDEX });
    for (const digest of [child.digest, sha256(inner), sha256(outer)]) {
      const answer = await v2.client.send('DELETE', `${MANIFESTS}/${digest}`);
      assert.equal(answer.status, 403);
      assert.match(answer.message, /release/);
    }
  });

  it('a tag that only begins or ends like the pattern, or differs in case, is free', async () => {
    for (const tag of ['prerelease', 'release-1', 'V1']) {
      await v2.client.putManifest(REPOSITORY, tag, first.bytes);
      assert.equal((await v2.client.putManifest(REPOSITORY, tag, second.bytes)).status, 201);
    }
  });
});

describe('manifest settings', () => {
  it('an index or image with absent parts, where sparse ones are allowed, is accepted but its config must be there', async () => {
    const v2 = await startV2({ DRIFT_SPARSE_INDEXES: 'true' });
    try {
      const image = await v2.client.pushImage(REPOSITORY, 'latest');
      const sparse = indexOf([
        { digest: image.digest, size: 1 },
        { digest: sha256('absent'), size: 6 },
      ]);
      assert.equal((await v2.client.putManifest(REPOSITORY, 'sparse', sparse, { type: INDEX })).status, 201);
      const noLayer = image.bytes.toString().replace(image.layer, sha256('absent layer'));
      assert.equal((await v2.client.putManifest(REPOSITORY, 'no-layer', noLayer)).status, 201);
      const noConfig = image.bytes.toString().replace(image.config, sha256('absent config'));
      assert.equal(
        (await v2.client.putManifest(REPOSITORY, 'no-config', noConfig)).code,
        'MANIFEST_BLOB_UNKNOWN',
      );
    } finally {
      await v2.stop();
    }
  });

  it('deletes, switched off, are 405 through every door', async () => {
    const v2 = await startV2({ DRIFT_DELETES: 'false' });
    try {
      const image = await v2.client.pushImage(REPOSITORY, 'latest');
      for (const path of ['manifests/latest', `manifests/${image.digest}`, `blobs/${image.layer}`]) {
        const answer = await v2.client.send('DELETE', `/v2/${REPOSITORY}/${path}`);
        assert.equal(answer.status, 405);
        assert.equal(answer.code, 'UNSUPPORTED');
      }
      assert.equal((await v2.client.send('HEAD', `${MANIFESTS}/latest`)).status, 200);
    } finally {
      await v2.stop();
    }
  });
});
