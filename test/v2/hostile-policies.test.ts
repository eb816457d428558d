import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { ADMIN, type Answer, INDEX, indexOf, OWNER, PUSHER, sha256 } from './v2-client.ts';
import { startV2 } from './v2-server.ts';

const REPOSITORY = 'ghost/policy';
const MANIFESTS = `/v2/${REPOSITORY}/manifests`;
type Image = Awaited<ReturnType<WireWorld['client']['pushImage']>>;

describe('C, immutable tags through every door', () => {
  let world: WireWorld;
  let kept: Image;
  let child: Image;
  let other: Image;
  let index: Buffer;
  before(async () => {
    world = await openWireWorld({ env: { DRIFT_IMMUTABLE_TAGS: 'prod,v*,*a*a*a*a*a*a*a*a*b' } });
    kept = await world.client.pushImage(REPOSITORY, 'prod', { content: 'kept' });
    other = await world.client.pushImage(REPOSITORY, 'free', { content: 'other' });
    child = await world.client.pushImage(REPOSITORY, null, { content: 'child' });
    index = indexOf([{ digest: child.digest, size: child.bytes.length }]);
    await expectAnswer(world.client.putManifest(REPOSITORY, 'v1', index, { type: INDEX }), { status: 201 });
  });
  after(() => world[Symbol.asyncDispose]());

  const put = (reference: string, image: Image, as = ADMIN, headers = {}): Promise<Answer> =>
    world.client.putManifest(REPOSITORY, reference, image.bytes, { as, headers });
  const remove = (path: string, as = ADMIN): Promise<Answer> =>
    world.client.send('DELETE', `/v2/${REPOSITORY}/${path}`, { as });

  const doors: readonly (readonly [string, () => Promise<Answer>])[] = [
    ['PUT of the tag', () => put('prod', other)],
    ['PUT of the tag by its owner', () => put('prod', other, OWNER)],
    ['PUT of the tag by a pusher', () => put('prod', other, PUSHER)],
    ['PUT of the tag, escaped', () => put('%70rod', other)],
    [
      'PUT of the tag with If-Match of what it is',
      () => put('prod', other, ADMIN, { 'if-match': `"${kept.digest}"` }),
    ],
    ['PUT of a digest with ?tag=', () => put(`${other.digest}?tag=prod`, other)],
    ['PUT of a digest with several ?tag=', () => put(`${other.digest}?tag=fresh&tag=prod`, other)],
    ['PUT of a digest with an escaped ?tag=', () => put(`${other.digest}?tag=%70rod`, other)],
    ['DELETE of the tag', () => remove('manifests/prod')],
    ['DELETE of the tag by its owner', () => remove('manifests/prod', OWNER)],
    ['DELETE of the digest', () => remove(`manifests/${kept.digest}`)],
    ['DELETE of the index', () => remove(`manifests/${sha256(index)}`)],
    ['DELETE of a child of the index', () => remove(`manifests/${child.digest}`)],
    ['DELETE of a layer', () => remove(`blobs/${kept.layer}`)],
    ['DELETE of a config', () => remove(`blobs/${child.config}`)],
  ];
  for (const [door, knock] of doors) {
    it(`C1 ${door}, is DENIED with a sentence and changes nothing`, async () => {
      const answer = await expectAnswer(knock(), { status: 403 });
      assert.equal(answer.code, 'DENIED');
      assert.ok(answer.message.length > 20);
      for (const [reference, digest] of [
        ['prod', kept.digest],
        ['v1', sha256(index)],
        [child.digest, child.digest],
      ] as const) {
        await expectAnswer(world.client.send('HEAD', `${MANIFESTS}/${reference}`), {
          status: 200,
          'docker-content-digest': digest,
        });
      }
      await expectAnswer(world.client.send('HEAD', `${MANIFESTS}/fresh`), { status: 404 });
    });
  }

  it('C1 an immutable tag, once it was on another manifest too, cannot be freed by deleting that one and pushing again', async () => {
    await expectAnswer(put('v9', other), { status: 201 });
    await expectAnswer(remove(`manifests/${other.digest}`), { status: 403 });
    await expectAnswer(put('v9', kept), { status: 403 });
  });

  it('C1 a child of an index, pushed as a blob to be no child, is not taken for one', async () => {
    const disguised = await world.client.pushImage('ghost/source', null, { content: 'disguised' });
    await world.client.pushBlob(REPOSITORY, disguised.bytes);
    const shell = indexOf([{ digest: disguised.digest, size: disguised.bytes.length }]);
    const answer = await expectAnswer(world.client.putManifest(REPOSITORY, 'v7', shell, { type: INDEX }), {
      status: 400,
    });
    assert.equal(answer.code, 'MANIFEST_BLOB_UNKNOWN');
  });

  it('C1 two first pushes of an immutable tag at once, from two processes, let one in for good', async () => {
    const v2 = await startV2({ DRIFT_IMMUTABLE_TAGS: 'v*' });
    try {
      const images = [];
      for (let each = 0; each < 6; each++)
        images.push(await v2.client.pushImage(REPOSITORY, null, { content: `${each}` }));
      const answers = await Promise.all(
        images.map(({ bytes }, each) =>
          (each % 2 === 0 ? v2.client : v2.other).putManifest(REPOSITORY, 'v1', bytes),
        ),
      );
      const winners = images.filter((_, each) => answers[each]?.status === 201);
      assert.equal(winners.length, 1);
      assert.equal(answers.filter(({ status }) => status === 403).length, 5);
      const head = await v2.other.send('HEAD', `${MANIFESTS}/v1`);
      assert.equal(head.headers['docker-content-digest'], winners[0]?.digest);
    } finally {
      await v2.stop();
    }
  });

  it('C1 a pattern made to backtrack, over tags of 128 characters, is matched: one that backtracks would not end', async () => {
    for (const last of ['c', 'd', '_']) {
      await expectAnswer(put(`${'a'.repeat(127)}${last}`, kept), { status: 201 });
    }
  });

  it('C1 a pattern, matches whole tags only', async () => {
    for (const tag of ['prod-1', 'preprod', 'PROD', 'xv1']) {
      await expectAnswer(put(tag, kept), { status: 201 });
      await expectAnswer(put(tag, other), { status: 201 });
      await expectAnswer(remove(`manifests/${tag}`), { status: 202 });
    }
  });

  it('C2 the same digest again, through path and query, succeeds each time', async () => {
    for (const reference of [
      'prod',
      `${kept.digest}?tag=prod`,
      `${kept.digest}?tag=prod&tag=v2`,
      'v2',
      kept.digest,
    ]) {
      await expectAnswer(put(reference, kept), { status: 201, 'docker-content-digest': kept.digest });
    }
  });

  it('C3 tags that differ in case alone, are different tags', async () => {
    await expectAnswer(put('Case', kept), { status: 201 });
    await expectAnswer(put('case', other), { status: 201 });
    const [upper, lower] = [
      await world.client.send('HEAD', `${MANIFESTS}/Case`),
      await world.client.send('HEAD', `${MANIFESTS}/case`),
    ];
    assert.notEqual(upper.headers['docker-content-digest'], lower.headers['docker-content-digest']);
  });
});

describe('B9, the delete switch', () => {
  it('B9 off, is off for tags, digests, blobs and every caller, and a cancelled upload is no delete', async () => {
    await using world = await openWireWorld({ env: { DRIFT_DELETES: 'false' } });
    const image = await world.client.pushImage(REPOSITORY, 'latest');
    for (const path of [
      'manifests/latest',
      `manifests/${image.digest}`,
      `blobs/${image.layer}`,
      'manifests/missing',
    ]) {
      for (const as of [ADMIN, OWNER]) {
        const answer = await world.client.send('DELETE', `/v2/${REPOSITORY}/${path}`, { as });
        assert.deepEqual([answer.status, answer.code], [405, 'UNSUPPORTED'], path);
      }
    }
    const location = await world.client.startUpload(REPOSITORY);
    await expectAnswer(world.client.send('DELETE', location), { status: 204 });
    await expectAnswer(world.client.send('HEAD', `${MANIFESTS}/latest`), { status: 200 });
  });
});
