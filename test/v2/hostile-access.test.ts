import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { exchangeRaw } from '../harness/door-world.ts';
import { challengeOf, expectAnswer, openWireWorld, type WireWorld } from '../harness/wire-world.ts';
import { type Answer, OWNER, type Person, PULLER, PUSHER, STRANGER, sha256 } from './v2-client.ts';

const COLON: Person = { name: 'colon', password: 'a:b::c:' };
const UTF8: Person = { name: 'utf8', password: 'pässwörd-日本語-🙂' };

describe('A8, odd Authorization headers', () => {
  let world: WireWorld;
  before(async () => {
    world = await openWireWorld({
      users: { [COLON.name]: COLON.password, [UTF8.name]: UTF8.password },
      scopes: {},
    });
  });
  after(() => world[Symbol.asyncDispose]());

  const base64 = (text: string | Uint8Array): string => Buffer.from(text as string).toString('base64');
  const raw = (lines: string): Promise<string> =>
    exchangeRaw(world.port, `GET /v2/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n${lines}\r\n\r\n`);

  const refused: readonly (readonly [string, string])[] = [
    ['an empty value', 'Authorization:'],
    ['Basic alone', 'Authorization: Basic'],
    ['Basic of no base64', 'Authorization: Basic !!!!'],
    ['Basic without a colon', `Authorization: Basic ${base64('colon')}`],
    ['Basic with NUL', `Authorization: Basic ${base64('colon\0:a:b::c:')}`],
    ['Basic with line breaks', `Authorization: Basic ${base64('colon:a\r\nX: y')}`],
    ['Basic that is no UTF-8', `Authorization: Basic ${base64(Uint8Array.of(0xff, 0xfe, 0x3a, 0x80))}`],
    ['bytes beyond ASCII', 'Authorization: Basic \xff\xfe\x80'],
    ['a password of 20 KB', `Authorization: Basic ${base64(`colon:${'x'.repeat(20_000)}`)}`],
    ['a right password with more behind', `Authorization: Basic ${base64('colon:a:b::c: ')}`],
    ['Bearer alone', 'Authorization: Bearer'],
    ['Bearer of nonsense', 'Authorization: Bearer a.b.c'],
    ['Bearer of a huge token', `Authorization: Bearer ${'a.'.repeat(8000)}`],
    ['a scheme nobody knows', 'Authorization: Negotiate abc'],
    [
      'two headers',
      `Authorization: Basic ${base64('colon:a:b::c:')}\r\nAuthorization: Basic ${base64('colon:x')}`,
    ],
    [
      'the same header twice',
      Array.from({ length: 2 }, () => `Authorization: Basic ${base64('colon:a:b::c:')}`).join('\r\n'),
    ],
  ];
  for (const [what, lines] of refused) {
    it(`A8 ${what}, is 400 or 401 and no crash`, async () => {
      assert.match(await raw(lines), /^HTTP\/1\.1 40[01] [^]*"errors":\[/);
    });
  }

  it('A8 a password of one megabyte, is refused by its size and the server goes on', async () => {
    const megabyte = base64(`colon:${'x'.repeat(1024 * 1024)}`);
    assert.match(await raw(`Authorization: Basic ${megabyte}`), /^HTTP\/1\.1 (?:400|401|431) /);
    await expectAnswer(world.client.send('GET', '/v2/', { as: COLON }), { status: 200 });
  });

  const accepted: readonly (readonly [string, string])[] = [
    ['a password with colons', `Authorization: Basic ${base64(`${COLON.name}:${COLON.password}`)}`],
    ['a password in UTF-8', `Authorization: Basic ${base64(`${UTF8.name}:${UTF8.password}`)}`],
    ['the scheme in lower case', `authorization: basic ${base64(`${COLON.name}:${COLON.password}`)}`],
    ['the scheme in upper case', `AUTHORIZATION: BASIC ${base64(`${COLON.name}:${COLON.password}`)}`],
  ];
  for (const [what, lines] of accepted) {
    it(`A8 ${what}, is accepted`, async () => {
      assert.match(await raw(lines), /^HTTP\/1\.1 200 /);
    });
  }
});

describe('A10, Host and forwarded headers', () => {
  it('A10 with an external URL, neither Host nor forwarded headers move the realm', async () => {
    await using world = await openWireWorld({ env: { DRIFT_EXTERNAL_URL: 'https://registry.example.com' } });
    const headers = { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'http' };
    const answer = await world.client.send('GET', '/v2/', { as: null, headers });
    assert.equal(challengeOf(answer)['realm'], 'https://registry.example.com/token');
  });

  it('A10 from an address that is no listed proxy, forwarded headers are not believed', async () => {
    await using world = await openWireWorld({ env: { DRIFT_TRUSTED_PROXIES: '192.0.2.0/24' } });
    const headers = {
      host: 'registry:5000',
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
    };
    const answer = await world.client.send('GET', '/v2/', { as: null, headers });
    assert.equal(challengeOf(answer)['realm'], 'http://registry:5000/token');
  });

  it('A10 a Host made to break out of the challenge, does not', async () => {
    await using world = await openWireWorld();
    for (const host of ['a",error="x', 'a/b', 'user@evil', 'a b', '']) {
      const request = `GET /v2/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
      const answer = await exchangeRaw(world.port, request);
      assert.match(answer, /^HTTP\/1\.1 40[01] /);
      const [, challenge] = /^WWW-Authenticate: (.*)\r$/m.exec(answer) ?? [];
      if (challenge !== undefined)
        assert.match(challenge, /^Bearer realm="http:\/\/[a-z0-9.:[\]-]+\/token",service="[^"]*"$/i);
    }
  });
});

describe('B, who may reach what', () => {
  let world: WireWorld;
  let image: Awaited<ReturnType<WireWorld['client']['pushImage']>>;
  const repository = 'ghost/there';
  before(async () => {
    world = await openWireWorld();
    image = await world.client.pushImage(repository, 'latest');
    await world.client.pushImage('other/mine', 'latest', { content: 'mine' });
  });
  after(() => world[Symbol.asyncDispose]());

  it('B2 a digest known from elsewhere, opens nothing through any route of a repository that does not link it', async () => {
    for (const method of ['GET', 'HEAD']) {
      for (const path of [`blobs/${image.layer}`, `blobs/${image.config}`, `manifests/${image.digest}`]) {
        for (const headers of [{}, { range: 'bytes=0-0' }, { 'if-none-match': `"${path.split('/')[1]}"` }]) {
          const answer = world.client.send(method, `/v2/other/mine/${path}`, { as: STRANGER, headers });
          await expectAnswer(answer, { status: 404 });
        }
      }
    }
    const list = await world.client.send('GET', `/v2/other/mine/referrers/${image.digest}`, { as: STRANGER });
    assert.deepEqual(list.json.manifests, []);
  });

  it('B3 a mount, from where the caller may not pull, answers as one of a blob that is nowhere', async () => {
    const shape = (answer: Answer): string => {
      const { date: _, location, 'docker-upload-uuid': __, 'x-request-id': ___, ...rest } = answer.headers;
      return JSON.stringify([answer.status, rest, String(location).replace(/[0-9a-f-]{32,}/, 'ID')]);
    };
    for (const from of ['&from=ghost/there', '&from=ghost/nowhere', '']) {
      const there = `/v2/other/mine/blobs/uploads/?mount=${image.layer}${from}`;
      const nowhere = `/v2/other/mine/blobs/uploads/?mount=${sha256('nowhere')}${from}`;
      const [real, fake] = [
        await world.client.send('POST', there, { as: STRANGER }),
        await world.client.send('POST', nowhere, { as: STRANGER }),
      ];
      assert.equal(shape(real), shape(fake));
      assert.equal(real.status, 202);
    }
    await expectAnswer(world.client.send('HEAD', `/v2/other/mine/blobs/${image.layer}`, { as: STRANGER }), {
      status: 404,
    });
  });

  it('B4 a manifest, naming blobs or children of another repository, is refused and gives no way to read them', async () => {
    const index = JSON.stringify({
      schemaVersion: 2,
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          digest: image.digest,
          size: image.bytes.length,
        },
      ],
    });
    const type = 'application/vnd.oci.image.index.v1+json';
    for (const [bytes, ask] of [
      [image.bytes, { as: STRANGER }],
      [index, { as: STRANGER, type }],
    ] as const) {
      const answer = await world.client.putManifest('other/mine', 'stolen', bytes, ask);
      assert.deepEqual([answer.status, answer.code], [400, 'MANIFEST_BLOB_UNKNOWN']);
    }
    await expectAnswer(world.client.send('GET', `/v2/other/mine/blobs/${image.layer}`, { as: STRANGER }), {
      status: 404,
    });
  });

  it('B5 what was just read, deleted, is 404 with the next request through every route', async () => {
    const gone = await world.client.pushImage('ghost/gone', 'latest', { content: 'gone' });
    const reads = ['manifests/latest', `manifests/${gone.digest}`, `blobs/${gone.layer}`];
    const statuses = async (): Promise<number[]> => {
      const answers = reads.flatMap((path) =>
        ['GET', 'HEAD'].map((method) => world.client.send(method, `/v2/ghost/gone/${path}`)),
      );
      return (await Promise.all(answers)).map(({ status }) => status);
    };
    assert.deepEqual(new Set(await statuses()), new Set([200]));
    await expectAnswer(world.client.send('DELETE', `/v2/ghost/gone/manifests/${gone.digest}`), {
      status: 202,
    });
    await expectAnswer(world.client.send('DELETE', `/v2/ghost/gone/blobs/${gone.layer}`), { status: 202 });
    assert.deepEqual(new Set(await statuses()), new Set([404]));
  });

  it('B6 without the right to push, no tag in path or query is set, latest as little as any other', async () => {
    const pullToken = await world.token(OWNER, `repository:${repository}:pull`);
    for (const [ask, status] of [
      [{ as: PULLER }, 403],
      [{ as: STRANGER }, 403],
      [{ as: null, headers: { authorization: `Bearer ${pullToken}` } }, 401],
    ] as const) {
      for (const reference of [
        'latest',
        'new',
        `${image.digest}?tag=latest`,
        `${image.digest}?tag=new&tag=latest`,
      ]) {
        await expectAnswer(world.client.putManifest(repository, reference, image.bytes, ask), { status });
      }
    }
    await expectAnswer(world.client.send('HEAD', `/v2/${repository}/manifests/new`), { status: 404 });
  });

  it('B6 creating pushes at once to one tag, with If-None-Match: *, let exactly one in', async () => {
    const images = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        world.client.pushImage('ghost/create', null, { content: `${index}` }),
      ),
    );
    const headers = { 'if-none-match': '*' };
    const answers = await Promise.all(
      images.map(({ bytes }) => world.client.putManifest('ghost/create', 'only', bytes, { headers })),
    );
    assert.equal(answers.filter(({ status }) => status === 201).length, 1);
    assert.equal(answers.filter(({ status }) => status === 412).length, 5);
  });

  it('B7 an upload, for anybody but who began it and for any other repository, is 404 whatever is asked of it', async () => {
    const location = await world.client.startUpload(repository, OWNER);
    await world.client.send('PATCH', location, { as: OWNER, body: 'kept' });
    const elsewhere = location.replace(repository, 'ghost/elsewhere');
    for (const method of ['GET', 'HEAD', 'PATCH', 'PUT', 'DELETE']) {
      const query = method === 'PUT' ? `?digest=${sha256('kept')}` : '';
      const body = method === 'PATCH' ? { body: 'more' } : {};
      await expectAnswer(world.client.send(method, `${location}${query}`, { as: PUSHER, ...body }), {
        status: 404,
      });
      await expectAnswer(world.client.send(method, `${elsewhere}${query}`, { as: OWNER, ...body }), {
        status: 404,
      });
      await expectAnswer(world.client.send(method, `${location}${query}`, { as: PULLER, ...body }), {
        status: 403,
      });
    }
    await expectAnswer(world.client.send('GET', location, { as: OWNER }), { status: 204, range: '0-3' });
    const token = await world.token(OWNER, `repository:${repository}:push`);
    const headers = { authorization: `Bearer ${token}` };
    await expectAnswer(world.client.send('GET', location, { as: null, headers }), { status: 204 });
  });

  it('B7 upload ids, are 128 random bits and guessed ones are 404', async () => {
    const ids = await Promise.all(
      Array.from(
        { length: 8 },
        async () => (await world.client.startUpload(repository)).split('/').at(-1) ?? '',
      ),
    );
    assert.equal(new Set(ids).size, 8);
    assert.ok(ids.every((id) => id.replaceAll('-', '').length >= 32));
    for (const guess of ['1', '../1', randomBytes(16).toString('hex'), 'x'.repeat(300), `${ids[0]}0`]) {
      const answer = await world.client.send('GET', `/v2/${repository}/blobs/uploads/${guess}`);
      assert.ok(answer.status === 404 || answer.status === 400, `${guess}: ${answer.status}`);
    }
  });

  it('B10 to callers without the right, what exists and what does not are the same words', async () => {
    const words = async (ask: { as: Person | null }, method: string, path: string): Promise<string> => {
      const { status, headers, body } = await world.client.send(method, path, ask);
      const { date: _, 'x-request-id': __, ...rest } = headers;
      return JSON.stringify([status, rest, body.toString()]);
    };
    const requests: readonly (readonly [string, string, string])[] = [
      ['GET', 'tags/list', 'tags/list'],
      ['GET', 'manifests/latest', 'manifests/missing'],
      ['HEAD', 'manifests/latest', 'manifests/missing'],
      ['GET', `manifests/${image.digest}`, `manifests/${sha256('none')}`],
      ['GET', `blobs/${image.layer}`, `blobs/${sha256('none')}`],
      ['HEAD', `blobs/${image.layer}`, `blobs/${sha256('none')}`],
      ['GET', `referrers/${image.digest}`, `referrers/${sha256('none')}`],
      ['DELETE', `manifests/${image.digest}`, `manifests/${sha256('none')}`],
      ['DELETE', `blobs/${image.layer}`, `blobs/${sha256('none')}`],
      ['PUT', 'manifests/latest', 'manifests/missing'],
      ['POST', 'blobs/uploads/', 'blobs/uploads/'],
      ['GET', '_oci/ext/discover', '_oci/ext/discover'],
    ];
    for (const as of [null, STRANGER]) {
      for (const [method, real, fake] of requests) {
        const there = await words({ as }, method, `/v2/ghost/there/${real}`);
        const missing = await words({ as }, method, `/v2/ghost/empty/${fake}`);
        assert.equal(there.replaceAll('ghost/there', 'NAME'), missing.replaceAll('ghost/empty', 'NAME'));
        assert.match(there, as === null ? /^\[401,/ : /^\[403,/);
      }
    }
    const catalog = await world.client.send('GET', '/v2/_catalog', { as: STRANGER });
    assert.deepEqual(catalog.json.repositories, ['other/mine']);
  });
});

describe('E4, open uploads', () => {
  it('E4 one pusher, however many uploads they begin, leaves room for the others; all together stay below the limit', async () => {
    await using world = await openWireWorld({ env: { DRIFT_LIMITS_UPLOADS_OPEN: '20' } });
    const begin = async (as: Person, count: number): Promise<number[]> => {
      const begun = Array.from({ length: count }, () =>
        world.client.send('POST', '/v2/ghost/many/blobs/uploads/', { as }),
      );
      return (await Promise.all(begun)).map(({ status }) => status).sort((a, b) => a - b);
    };
    const full = (accepted: number, refused: number): number[] => [
      ...Array.from({ length: accepted }, () => 202),
      ...Array.from({ length: refused }, () => 429),
    ];
    assert.deepEqual(await begin(PUSHER, 22), full(18, 4));
    assert.deepEqual(await begin(OWNER, 3), full(2, 1));
    await expectAnswer(world.client.send('GET', '/v2/'), { status: 200 });
  });
});
