import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Answer, IMAGE, INDEX, OWNER, PULLER, PUSHER, STRANGER, sha256 } from './v2-client.ts';
import { startV2, type V2Server } from './v2-server.ts';

/** The target of a `Link`, which must be relative and start the header. */
function nextOf(answer: Answer): string | null {
  const { link } = answer.headers;
  if (typeof link !== 'string') return null;
  const match = /^<(\/v2\/[^>]*)>; rel="next"$/.exec(link);
  assert.ok(match, link);
  return match[1] ?? null;
}

describe('tag lists', () => {
  let v2: V2Server;
  // Prefix siblings, and the bytes of `-`, `.` and `_` around digits and letters.
  const tags = ['0.1.2', '0.1.20', '0.1.2-rc', 'A', 'a', 'a-b', 'a.b', 'a_b', 'latest'].sort();
  const list = '/v2/ghost/listed/tags/list';
  before(async () => {
    v2 = await startV2();
    const image = await v2.client.pushImage('ghost/listed', null);
    for (const tag of tags.toReversed()) await v2.client.putManifest('ghost/listed', tag, image.bytes);
  });
  after(() => v2.stop());

  it('GET, without n, lists all tags in byte order', async () => {
    const answer = await v2.client.send('GET', list);
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.json, { name: 'ghost/listed', tags });
    assert.equal(nextOf(answer), null);
  });

  it('GET, page by page, lists each tag once, whatever the size of a page', async () => {
    for (const n of [1, 2, 3, 8, 9, 10]) {
      const seen: string[] = [];
      let path: string | null = `${list}?n=${n}`;
      while (path !== null) {
        const answer: Answer = await v2.client.send('GET', path);
        assert.ok(answer.json.tags.length <= n);
        seen.push(...answer.json.tags);
        path = nextOf(answer);
      }
      assert.deepEqual(seen, tags);
    }
  });

  it('GET, with last alone, goes on after it, even when that tag never was', async () => {
    assert.deepEqual(
      (await v2.client.send('GET', `${list}?last=a`)).json.tags,
      tags.filter((tag) => tag > 'a'),
    );
    assert.deepEqual(
      (await v2.client.send('GET', `${list}?last=0.1.3`)).json.tags,
      tags.filter((tag) => tag > '0.1.3'),
    );
  });

  it('GET, with n=0, is empty and final; with a huge n, it is cut down', async () => {
    const none = await v2.client.send('GET', `${list}?n=0`);
    assert.deepEqual(none.json.tags, []);
    assert.equal(nextOf(none), null);
    assert.deepEqual((await v2.client.send('GET', `${list}?n=999999999999999999`)).json.tags, tags);
  });

  for (const n of ['1e99', '-1', '0x10', '1.5', '', 'many', '99999999999999999999999']) {
    it(`GET, with n=${n}, is 400`, async () => {
      assert.equal((await v2.client.send('GET', `${list}?n=${n}`)).status, 400);
    });
  }

  it('GET, of a repository that is not there, is 404; without a right, 403 alike', async () => {
    const answer = await v2.client.send('GET', '/v2/ghost/absent/tags/list');
    assert.equal(answer.status, 404);
    assert.equal(answer.code, 'NAME_UNKNOWN');
    for (const path of [list, '/v2/ghost/absent/tags/list']) {
      assert.equal((await v2.client.send('GET', path, { as: STRANGER })).status, 403);
    }
    assert.equal((await v2.client.send('GET', list, { as: PUSHER })).status, 403);
  });

  it('GET, after the last tag went, is an empty list and not null', async () => {
    await v2.client.pushImage('ghost/emptied', 'only', { content: 'emptied' });
    await v2.client.send('DELETE', '/v2/ghost/emptied/manifests/only');
    assert.deepEqual((await v2.client.send('GET', '/v2/ghost/emptied/tags/list')).json.tags, []);
  });
});

describe('the catalog', () => {
  let v2: V2Server;
  const ghosts = ['ghost/math', 'ghost/math-voila', 'ghost/math.x', 'ghost/math/sub', 'ghost/zoo'].sort();
  before(async () => {
    v2 = await startV2();
    for (const name of [...ghosts, 'other/one', 'other/two']) await v2.client.pushImage(name, 'latest');
    await v2.client.pushBlob('ghost/blobs-only', Buffer.from('no manifest'));
  });
  after(() => v2.stop());

  it('GET, for everybody, shows what they may pull and nothing else', async () => {
    const shown = async (as: typeof OWNER) => (await v2.client.send('GET', '/v2/_catalog', { as })).json;
    assert.deepEqual(await shown(OWNER), { repositories: ghosts });
    assert.deepEqual(await shown(PULLER), { repositories: ghosts });
    assert.deepEqual(await shown(STRANGER), { repositories: ['other/one', 'other/two'] });
  });

  it('GET, page by page, brings full pages of what the caller may pull', async () => {
    for (const [as, expected] of [
      [OWNER, ghosts],
      [STRANGER, ['other/one', 'other/two']],
    ] as const) {
      const seen: string[] = [];
      let path: string | null = '/v2/_catalog?n=2';
      while (path !== null) {
        const answer: Answer = await v2.client.send('GET', path, { as });
        seen.push(...answer.json.repositories);
        path = nextOf(answer);
        if (path !== null) assert.equal(answer.json.repositories.length, 2);
      }
      assert.deepEqual(seen, expected);
    }
  });

  it('GET, with a token for the catalog, shows what its owner may pull', async () => {
    const token = await v2.issueToken(OWNER, 'registry:catalog:*');
    const headers = { authorization: `Bearer ${token}` };
    const answer = await v2.client.send('GET', '/v2/_catalog', { as: null, headers });
    assert.deepEqual(answer.json, { repositories: ghosts });
  });

  it('GET, with n=0 or a bad n, is empty or 400; without credentials, 401', async () => {
    assert.deepEqual((await v2.client.send('GET', '/v2/_catalog?n=0')).json.repositories, []);
    assert.equal((await v2.client.send('GET', '/v2/_catalog?n=x')).status, 400);
    assert.equal((await v2.client.send('GET', '/v2/_catalog', { as: null })).status, 401);
  });
});

describe('referrers', () => {
  let v2: V2Server;
  let subject: { digest: string; bytes: Buffer };
  const path = (digest: string, query = '', repository = 'ghost/subject') =>
    `/v2/${repository}/referrers/${digest}${query}`;
  before(async () => {
    v2 = await startV2();
    subject = await v2.client.pushImage('ghost/subject', 'latest');
  });
  after(() => v2.stop());

  const refer = (content: string, artifactType?: string) =>
    v2.client.pushImage('ghost/subject', null, {
      content,
      subject: { mediaType: IMAGE, digest: subject.digest, size: subject.bytes.length },
      ...(artifactType === undefined ? {} : { artifactType }),
    });

  it('GET, of nothing, in any repository, is an empty index', async () => {
    for (const [repository, digest] of [
      ['ghost/subject', sha256('none')],
      ['ghost/absent', `sha256:${'0'.repeat(64)}`],
    ]) {
      const answer = await v2.client.send('GET', path(String(digest), '', repository));
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['content-type'], INDEX);
      assert.deepEqual(answer.json, { schemaVersion: 2, mediaType: INDEX, manifests: [] });
    }
  });

  it('GET, of a malformed digest, is 400', async () => {
    for (const digest of ['sha256:x', 'latest', `sha256:${'A'.repeat(64)}`]) {
      const answer = await v2.client.send('GET', path(digest));
      assert.equal(answer.status, 400);
      assert.equal(answer.code, 'DIGEST_INVALID');
    }
  });

  it('GET, of a subject, lists what refers to it, filtered when asked, until it is deleted', async () => {
    const signature = await refer('signature', 'application/vnd.example.sig+json');
    const plain = await refer('plain');
    const all = await v2.client.send('GET', path(subject.digest));
    const expected = [
      {
        mediaType: IMAGE,
        digest: signature.digest,
        size: signature.bytes.length,
        artifactType: 'application/vnd.example.sig+json',
        annotations: { note: 'signature' },
      },
      {
        mediaType: IMAGE,
        digest: plain.digest,
        size: plain.bytes.length,
        artifactType: 'application/vnd.oci.image.config.v1+json',
        annotations: { note: 'plain' },
      },
    ].sort((a, b) => (a.digest < b.digest ? -1 : 1));
    assert.deepEqual(all.json.manifests, expected);
    assert.equal(all.headers['oci-filters-applied'], undefined);
    const type = encodeURIComponent('application/vnd.example.sig+json');
    const filtered = await v2.client.send('GET', path(subject.digest, `?artifactType=${type}`));
    assert.equal(filtered.headers['oci-filters-applied'], 'artifactType');
    assert.deepEqual(
      filtered.json.manifests.map((entry: { digest: string }) => entry.digest),
      [signature.digest],
    );
    await v2.client.send('DELETE', `/v2/ghost/subject/manifests/${subject.digest}`);
    assert.equal((await v2.client.send('GET', path(subject.digest))).json.manifests.length, 2);
    await v2.client.send('DELETE', `/v2/ghost/subject/manifests/${plain.digest}`);
    assert.equal((await v2.client.send('GET', path(subject.digest))).json.manifests.length, 1);
  });

  it('GET, of more than one response may hold, is cut by bytes and goes on by Link', async () => {
    const target = sha256('of large referrers');
    const made: string[] = [];
    const config = await v2.client.pushBlob('ghost/large', Buffer.from('{}'));
    for (let index = 0; index < 5; index += 1) {
      const bytes = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: IMAGE,
          artifactType: 'application/vnd.example+json',
          config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: config, size: 2 },
          layers: [],
          subject: { mediaType: IMAGE, digest: target, size: 1 },
          annotations: { large: String(index).repeat(1024 * 1024) },
        }),
      );
      const answer = await v2.client.putManifest('ghost/large', sha256(bytes), bytes);
      assert.equal(answer.status, 201, answer.body.toString());
      made.push(sha256(bytes));
    }
    const seen: string[] = [];
    let next: string | null = path(target, '?artifactType=application%2Fvnd.example%2Bjson', 'ghost/large');
    let pages = 0;
    while (next !== null) {
      const answer: Answer = await v2.client.send('GET', next);
      assert.ok(answer.body.length < 4 * 1024 * 1024);
      assert.equal(answer.headers['oci-filters-applied'], 'artifactType');
      seen.push(...answer.json.manifests.map((entry: { digest: string }) => entry.digest));
      next = nextOf(answer);
      pages += 1;
    }
    assert.deepEqual(seen, made.sort());
    assert.equal(pages, 2);
    for (const n of [1, 2, 5]) {
      const bySize: string[][] = [];
      for (let at: string | null = path(target, `?n=${n}`, 'ghost/large'); at !== null; ) {
        const answer: Answer = await v2.client.send('GET', at);
        bySize.push(answer.json.manifests.map((entry: { digest: string }) => entry.digest));
        at = nextOf(answer);
        assert.ok(at?.includes(`n=${n}`) ?? true);
      }
      assert.deepEqual(bySize.flat(), made);
      assert.deepEqual(
        bySize.map((page) => page.length).join(' '),
        { 1: '1 1 1 1 1', 2: '2 2 1', 5: '3 2' }[n],
      );
    }
    const none = await v2.client.send('GET', path(target, '?n=0', 'ghost/large'));
    assert.deepEqual([none.json.manifests, nextOf(none)], [[], null]);
  });

  it('GET, without the right to pull, is refused', async () => {
    assert.equal((await v2.client.send('GET', path(subject.digest), { as: STRANGER })).status, 403);
    assert.equal((await v2.client.send('GET', path(subject.digest), { as: null })).status, 401);
  });
});
