import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Answer, OWNER, PULLER, PUSHER, STRANGER, sha256, sha512 } from './v2-client.ts';
import { startV2, type V2Server } from './v2-server.ts';

const REPOSITORY = 'ghost/demo';
const UPLOADS = `/v2/${REPOSITORY}/blobs/uploads/`;

describe('uploads', () => {
  let v2: V2Server;
  before(async () => {
    v2 = await startV2();
  });
  after(() => v2.stop());

  async function assertStored(digest: string, bytes: Uint8Array, repository = REPOSITORY): Promise<void> {
    const answer = await v2.client.send('GET', `/v2/${repository}/blobs/${digest}`);
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.body, Buffer.from(bytes));
  }

  function assertCreated(answer: Answer, digest: string): void {
    assert.equal(answer.status, 201, answer.body.toString());
    assert.equal(answer.headers.location, `/v2/${REPOSITORY}/blobs/${digest}`);
    assert.equal(answer.headers['docker-content-digest'], digest);
    assert.equal(answer.headers['content-length'], '0');
  }

  it('POST, without anything, opens an upload with a relative address that needs no query', async () => {
    for (const path of [UPLOADS, UPLOADS.slice(0, -1)]) {
      const answer = await v2.client.send('POST', path);
      assert.equal(answer.status, 202);
      assert.match(String(answer.headers.location), /^\/v2\/ghost\/demo\/blobs\/uploads\/[0-9a-f]{32}$/);
      assert.equal(answer.headers['range'], '0-0');
      assert.equal(answer.headers['docker-upload-uuid'], String(answer.headers.location).split('/').at(-1));
      assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0');
    }
  });

  it('POST then PUT, with the whole body, stores the blob', async () => {
    const bytes = Buffer.from('post and put');
    const location = await v2.client.startUpload(REPOSITORY);
    const answer = await v2.client.send('PUT', `${location}?digest=${sha256(bytes)}`, { body: bytes });
    assertCreated(answer, sha256(bytes));
    await assertStored(sha256(bytes), bytes);
  });

  it('PUT, with a colon escaped in its digest, stores the blob', async () => {
    const bytes = Buffer.from('escaped');
    const location = await v2.client.startUpload(REPOSITORY);
    const escaped = encodeURIComponent(sha256(bytes));
    assertCreated(
      await v2.client.send('PUT', `${location}?digest=${escaped}`, { body: bytes }),
      sha256(bytes),
    );
    const answer = await v2.client.send('GET', `/v2/${REPOSITORY}/blobs/${escaped}`);
    assert.deepEqual(answer.body, bytes);
  });

  for (const [name, digestOf] of [
    ['sha256', sha256],
    ['sha512', sha512],
  ] as const) {
    it(`POST ?digest=, with a ${name} body, stores it at once`, async () => {
      const bytes = Buffer.from(`at once ${name}`);
      const answer = await v2.client.send('POST', `${UPLOADS}?digest=${digestOf(bytes)}`, { body: bytes });
      assertCreated(answer, digestOf(bytes));
      await assertStored(digestOf(bytes), bytes);
    });

    it(`POST ?digest=, with the empty ${name} digest and no body, stores the empty blob`, async () => {
      const digest = digestOf('');
      assertCreated(await v2.client.send('POST', `${UPLOADS}?digest=${digest}`), digest);
      const answer = await v2.client.send('HEAD', `/v2/${REPOSITORY}/blobs/${digest}`);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['content-length'], '0');
      await assertStored(digest, Buffer.alloc(0));
    });

    it(`PUT, with a ${name} digest that the POST did not announce, stores the blob`, async () => {
      const bytes = Buffer.from(`unannounced ${name}`);
      const location = await v2.client.startUpload(REPOSITORY);
      await v2.client.send('PATCH', location, { body: bytes });
      assertCreated(await v2.client.send('PUT', `${location}?digest=${digestOf(bytes)}`), digestOf(bytes));
      await assertStored(digestOf(bytes), bytes);
    });
  }

  it('POST ?digest-algorithm=, for sha512, accepts it and refuses what is no algorithm', async () => {
    const bytes = Buffer.from('announced');
    const opened = await v2.client.send('POST', `${UPLOADS}?digest-algorithm=sha512`);
    assert.equal(opened.status, 202);
    const location = String(opened.headers.location);
    await v2.client.send('PATCH', location, { body: bytes });
    assertCreated(await v2.client.send('PUT', `${location}?digest=${sha512(bytes)}`), sha512(bytes));
    const refused = await v2.client.send('POST', `${UPLOADS}?digest-algorithm=md5`);
    assert.equal(refused.status, 400);
    assert.equal(refused.code, 'DIGEST_INVALID');
  });

  it('PATCH as docker sends it, chunked and bare, then an empty PUT, stores the blob', async () => {
    const parts = ['one ', 'two ', 'three'].map((part) => Buffer.from(part));
    const bytes = Buffer.concat(parts);
    const location = await v2.client.startUpload(REPOSITORY);
    const patched = await v2.client.send('PATCH', location, { body: parts });
    assert.equal(patched.status, 202);
    assert.equal(patched.headers['range'], `0-${bytes.length - 1}`);
    assert.equal(patched.headers.location, location);
    assertCreated(await v2.client.send('PUT', `${location}?digest=${sha256(bytes)}`), sha256(bytes));
    await assertStored(sha256(bytes), bytes);
  });

  it('chunks, in order and the last in the PUT, make the blob; one out of order is 416 and does no harm', async () => {
    const bytes = Buffer.from('0123456789abcdef');
    const location = await v2.client.startUpload(REPOSITORY);
    const chunk = (start: number, end: number) => ({
      headers: { 'content-range': `${start}-${end}` },
      body: bytes.subarray(start, end + 1),
    });
    assert.equal((await v2.client.send('PATCH', location, chunk(0, 4))).headers['range'], '0-4');
    for (const method of ['PATCH', 'PUT']) {
      const path = method === 'PUT' ? `${location}?digest=${sha256(bytes)}` : location;
      for (const start of [0, 4, 6]) {
        const wrong = await v2.client.send(method, path, chunk(start, 9));
        assert.equal(wrong.status, 416);
        assert.equal(wrong.headers.location, location);
        assert.equal(wrong.headers['range'], '0-4');
      }
      const status = await v2.client.send('GET', path);
      assert.equal(status.status, 204);
      assert.equal(status.headers['range'], '0-4');
      assert.equal(status.headers.location, location);
    }
    assert.equal((await v2.client.send('PATCH', location, chunk(5, 9))).headers['range'], '0-9');
    assertCreated(
      await v2.client.send('PUT', `${location}?digest=${sha256(bytes)}`, chunk(10, 15)),
      sha256(bytes),
    );
    await assertStored(sha256(bytes), bytes);
  });

  it('an upload, going from process to process, comes out whole', async () => {
    const bytes = Buffer.from('first second third');
    const location = await v2.client.startUpload(REPOSITORY);
    await v2.client.send('PATCH', location, { body: bytes.subarray(0, 6) });
    await v2.other.send('PATCH', location, { body: bytes.subarray(6, 13) });
    await v2.client.send('PATCH', location, { body: bytes.subarray(13) });
    assertCreated(await v2.other.send('PUT', `${location}?digest=${sha256(bytes)}`), sha256(bytes));
    await assertStored(sha256(bytes), bytes);
  });

  it('a PUT without a body, at a process that received nothing, compares what the other one hashed', async () => {
    const bytes = Buffer.from('hashed elsewhere');
    const location = await v2.client.startUpload(REPOSITORY);
    await v2.client.send('PATCH', location, { body: bytes });
    const wrong = await v2.other.send('PUT', `${location}?digest=${sha256('another')}`);
    assert.equal(wrong.status, 400);
    assert.equal(wrong.code, 'DIGEST_INVALID');
  });

  const wrongDigests: readonly (readonly [string, (digest: string) => Promise<Answer>])[] = [
    ['POST ?digest=', (digest) => v2.client.send('POST', `${UPLOADS}?digest=${digest}`, { body: 'not it' })],
    [
      'POST then PUT',
      async (digest) => {
        const location = await v2.client.startUpload(REPOSITORY);
        return v2.client.send('PUT', `${location}?digest=${digest}`, { body: 'not it' });
      },
    ],
    [
      'PATCH then PUT',
      async (digest) => {
        const location = await v2.client.startUpload(REPOSITORY);
        await v2.client.send('PATCH', location, { body: 'not it' });
        return v2.client.send('PUT', `${location}?digest=${digest}`);
      },
    ],
  ];
  for (const [name, push] of wrongDigests) {
    it(`${name}, with a digest of other bytes, is 400 and stores nothing`, async () => {
      for (const digest of [sha256('it'), sha512('it')]) {
        const answer = await push(digest);
        assert.equal(answer.status, 400);
        assert.equal(answer.code, 'DIGEST_INVALID');
        assert.equal((await v2.client.send('HEAD', `/v2/${REPOSITORY}/blobs/${digest}`)).status, 404);
      }
    });
  }

  it('PUT, with a malformed or missing digest, is 400 and the upload stays', async () => {
    const location = await v2.client.startUpload(REPOSITORY);
    const bad = [
      '',
      '?digest=',
      '?digest=sha256:abc',
      `?digest=sha256:${'A'.repeat(64)}`,
      '?digest=sha256:../../x',
    ];
    for (const query of [...bad, `?digest=md5:${'a'.repeat(32)}`]) {
      const answer = await v2.client.send('PUT', `${location}${query}`, { body: 'x' });
      assert.equal(answer.status, 400, query);
      assert.equal(answer.code, 'DIGEST_INVALID');
    }
    assert.equal((await v2.client.send('GET', location)).status, 204);
  });

  it('a chunk, whose lengths do not agree, is 400 and moves nothing', async () => {
    const location = await v2.client.startUpload(REPOSITORY);
    const body = Buffer.from('12345');
    const announced = await v2.client.send('PATCH', location, { headers: { 'content-range': '0-9' }, body });
    assert.equal(announced.status, 400);
    assert.equal(announced.code, 'SIZE_INVALID');
    const chunked = await v2.client.send('PATCH', location, {
      headers: { 'content-range': '0-9' },
      body: [body],
    });
    assert.equal(chunked.status, 400);
    const malformed = await v2.client.send('PATCH', location, { headers: { 'content-range': 'x-y' }, body });
    assert.equal(malformed.code, 'BLOB_UPLOAD_INVALID');
    assert.equal((await v2.client.send('GET', location)).headers['range'], '0-0');
    assertCreated(await v2.client.send('PUT', `${location}?digest=${sha256(body)}`, { body }), sha256(body));
  });

  it('DELETE, by whoever may push, ends the upload', async () => {
    const location = await v2.client.startUpload(REPOSITORY, PUSHER);
    assert.equal((await v2.client.send('DELETE', location, { as: PUSHER })).status, 204);
    for (const method of ['GET', 'PATCH', 'DELETE']) {
      const answer = await v2.client.send(method, location, { as: PUSHER, body: '' });
      assert.equal(answer.status, 404);
      assert.equal(answer.code, 'BLOB_UPLOAD_UNKNOWN');
    }
  });

  it('an upload, for another principal or repository, is unknown', async () => {
    const location = await v2.client.startUpload(REPOSITORY, OWNER);
    const elsewhere = location.replace(REPOSITORY, 'ghost/elsewhere');
    const digest = sha256('x');
    for (const [method, path] of [
      ['GET', ''],
      ['PATCH', ''],
      ['PUT', `?digest=${digest}`],
      ['DELETE', ''],
    ] as const) {
      const foreign = await v2.client.send(method, location + path, {
        as: PUSHER,
        body: method === 'GET' ? '' : 'x',
      });
      assert.equal(foreign.code, 'BLOB_UPLOAD_UNKNOWN');
      const moved = await v2.client.send(method, elsewhere + path, {
        as: OWNER,
        body: method === 'GET' ? '' : 'x',
      });
      assert.equal(moved.code, 'BLOB_UPLOAD_UNKNOWN');
    }
    assert.equal((await v2.client.send('GET', location, { as: OWNER })).status, 204);
  });

  it('everything about uploads, without the right to push, is refused', async () => {
    const location = await v2.client.startUpload(REPOSITORY);
    for (const as of [PULLER, STRANGER]) {
      for (const [method, path] of [
        ['POST', UPLOADS],
        ['GET', location],
        ['PATCH', location],
        ['DELETE', location],
      ]) {
        const answer = await v2.client.send(String(method), String(path), { as });
        assert.equal(answer.status, 403);
        assert.equal(answer.code, 'DENIED');
      }
    }
    assert.equal((await v2.client.send('POST', UPLOADS, { as: null })).status, 401);
  });

  it('the same blob, pushed many times at once, is stored once and every push succeeds', async () => {
    const bytes = Buffer.from('all at once');
    const digest = sha256(bytes);
    const pushes = Array.from({ length: 12 }, async (_, index) => {
      const client = index % 2 === 0 ? v2.client : v2.other;
      return client.send('POST', `/v2/ghost/r${index % 3}/blobs/uploads/?digest=${digest}`, { body: bytes });
    });
    assert.deepEqual(
      (await Promise.all(pushes)).map((answer) => answer.status),
      Array.from({ length: 12 }, () => 201),
    );
    const { entries } = await v2.blobs.list(null, 1000);
    assert.equal(entries.filter((entry) => entry.sizeBytes === bytes.length).length, 1);
  });

  it('bytes beyond the offset, left by a crashed request, do not become part of the blob', async () => {
    const bytes = Buffer.from('kept');
    const location = await v2.client.startUpload(REPOSITORY);
    await v2.client.send('PATCH', location, { body: bytes });
    const id = location.split('/').at(-1) as never;
    const junk = async function* () {
      yield Buffer.from('junk');
    };
    await v2.blobs.append(id, bytes.length, junk(), new AbortController().signal);
    assert.equal((await v2.client.send('GET', location)).headers['range'], '0-3');
    assertCreated(await v2.client.send('PUT', `${location}?digest=${sha256(bytes)}`), sha256(bytes));
    await assertStored(sha256(bytes), bytes);
  });

  it('a commit, in its transaction, queues its reviews and tells of itself', async () => {
    const digest = await v2.client.pushBlob('ghost/queues', Buffer.from('queued'));
    const reviews = await v2.meta.read.queues.reviews({ dueBefore: null, limit: 10_000 });
    const mine = reviews.filter((review) => review.digest === digest);
    assert.deepEqual(mine.map((review) => `${review.kind} ${review.reason}`).sort(), [
      'blob upload_committed',
      'link upload_committed',
    ]);
    assert.ok(mine.every((review) => review.dueAt > v2.clock.now()));
    const events = await v2.meta.read.queues.events({ afterId: 0, limit: 10_000 });
    const told = events.find((event) => event.kind === 'blob.pushed' && event.payload['digest'] === digest);
    assert.equal(told?.repository, 'ghost/queues');
    assert.equal(told?.principal, 'admin');
  });
});

describe('upload limits', () => {
  it('a blob, larger than the limit, is 413 whether its length was announced or not', async () => {
    const v2 = await startV2({ DRIFT_LIMITS_BLOB_SIZE: '1MiB' });
    try {
      const bytes = Buffer.alloc(1024 * 1024 + 1);
      for (const body of [bytes, [bytes]]) {
        const location = await v2.client.startUpload(REPOSITORY);
        const answer = await v2.client.send('PATCH', location, { body });
        assert.equal(answer.status, 413);
        assert.equal(answer.code, 'SIZE_INVALID');
      }
      const { entries } = await v2.blobs.listStaged(null, 10);
      assert.deepEqual(entries, []);
    } finally {
      await v2.stop();
    }
  });

  it('uploads, more than may be open, are 429 with a time to come back', async () => {
    const v2 = await startV2({ DRIFT_LIMITS_UPLOADS_OPEN: '2' });
    try {
      const first = await v2.client.startUpload(REPOSITORY);
      await v2.client.startUpload(REPOSITORY);
      const refused = await v2.client.send('POST', UPLOADS);
      assert.equal(refused.status, 429);
      assert.ok(Number(refused.headers['retry-after']) > 0);
      await v2.client.send('DELETE', first);
      assert.equal((await v2.client.send('POST', UPLOADS)).status, 202);
    } finally {
      await v2.stop();
    }
  });

  it('new content, when the device has less free than the reserve, is 507; reads and deletes go on', async () => {
    const full = await startV2({ DRIFT_STORAGE_RESERVE: '1024TiB' });
    try {
      for (const path of [UPLOADS, `${UPLOADS}?digest=${sha256('x')}`]) {
        const answer = await full.client.send('POST', path, { body: path === UPLOADS ? '' : 'x' });
        assert.equal(answer.status, 507);
        assert.equal(answer.code, 'UNAVAILABLE');
      }
      assert.equal((await full.client.send('GET', '/v2/_catalog')).status, 200);
    } finally {
      await full.stop();
    }
  });
});
