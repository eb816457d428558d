import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { UploadId } from '../../src/blobs/blob-store.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { expireUploads, sweepStaged } from '../../src/registry/expire-uploads.ts';
import { noFence } from '../../src/registry/fence.ts';
import { ON_NODES } from '../harness/stack.ts';
import { ADMIN, type Answer, basic, OWNER, sha256, type V2Client } from './v2-client.ts';
import { startV2, type V2Server } from './v2-server.ts';

const REPOSITORY = 'ghost/broken';
/** Larger than what a store gathers before it writes. */
const BYTES = randomBytes(4 * 1024 * 1024);
const HALF = BYTES.subarray(0, BYTES.length / 2);

describe('broken uploads', () => {
  let v2: V2Server;
  before(async () => {
    v2 = await startV2();
  });
  after(() => v2.stop());

  /** Opens a PATCH that announces `length` bytes, sends `part` of them and waits until a process has its hands on them. */
  async function hangingPatch(location: string, part: Buffer, length: number): Promise<Socket> {
    const socket = connect(v2.client.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      `PATCH ${location} HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic(ADMIN)}\r\nContent-Length: ${length}\r\n\r\n`,
    );
    await until(async () => (await v2.uploadsInFlight()) === 0);
    const isSent = new Promise((resolve) => socket.write(part, resolve));
    const id = location.split('/').at(-1) as never;
    if (ON_NODES) {
      // A bucket shows what an append has brought when it ends.
      await isSent;
      await until(async () => (await v2.uploadsInFlight()) > 0);
    } else {
      await until(async () => ((await v2.blobs.staged(id))?.sizeBytes ?? 0) > 0);
    }
    return socket;
  }

  /** Where the upload stands, once it stands anywhere. */
  function offsetOf(answer: Answer): number {
    const last = Number(/^0-(\d+)$/.exec(String(answer.headers['range']))?.[1]);
    return last === 0 ? 0 : last + 1;
  }

  async function until(condition: () => Promise<boolean>): Promise<void> {
    while (!(await condition())) await sleep(10);
  }

  async function finish(client: V2Client, location: string, bytes: Buffer): Promise<void> {
    const answer = await client.send('PUT', `${location}?digest=${sha256(bytes)}`);
    assert.equal(answer.status, 201, answer.body.toString());
    const stored = await client.send('GET', `/v2/${REPOSITORY}/blobs/${sha256(bytes)}`);
    assert.deepEqual(stored.body, bytes);
  }

  /** What a closing PUT has done when the last step, in the ledger, fails. */
  async function placeWithoutLedger(location: string, bytes: Buffer): Promise<string> {
    const digest = sha256(bytes) as Digest;
    const id = location.split('/').at(-1) as UploadId;
    const claimed = { digest, sizeBytes: bytes.length, location: v2.blobs.locate(id, digest) };
    await v2.meta.transaction(async (tx) => {
      const upload = await tx.uploads.acquire(id, 'died', 0);
      assert.ok(upload !== null && upload !== 'busy');
      await tx.uploads.close(id, 'died', { ...claimed, hashedInRun: 'a run' });
      await tx.blobs.claim(claimed, v2.clock.now());
    });
    assert.ok(await v2.blobs.commit(id, digest, bytes.length));
    return `${location}?digest=${digest}`;
  }

  for (const last of ['without a body', 'with its last chunk']) {
    it(`a closing PUT ${last}, placed by one whose ledger failed, is 201 when it comes again`, async () => {
      const bytes = randomBytes(BYTES.length);
      const location = await v2.client.startUpload(REPOSITORY);
      assert.equal((await v2.client.send('PATCH', location, { body: bytes })).status, 202);
      const put = await placeWithoutLedger(location, bytes);
      const ask = last === 'without a body' ? {} : { body: bytes.subarray(HALF.length) };
      const stranger = await v2.client.send('PUT', put, { ...ask, as: OWNER });
      assert.equal(stranger.code, 'BLOB_UPLOAD_UNKNOWN');
      const answer = await v2.other.send('PUT', put, ask);
      assert.equal(answer.status, 201, answer.body.toString());
      const stored = await v2.client.send('GET', `/v2/${REPOSITORY}/blobs/${sha256(bytes)}`);
      assert.deepEqual(stored.body, bytes);
      assert.equal((await v2.client.send('PUT', put, ask)).code, 'BLOB_UPLOAD_UNKNOWN');
    });
  }

  it('a closing PUT that comes again, bytes placed torn, is unknown', async () => {
    const bytes = randomBytes(HALF.length);
    const location = await v2.client.startUpload(REPOSITORY);
    assert.equal((await v2.client.send('PATCH', location, { body: bytes })).status, 202);
    const put = await placeWithoutLedger(location, bytes);
    const other = await v2.client.startUpload(REPOSITORY);
    assert.equal((await v2.client.send('PATCH', other, { body: randomBytes(bytes.length) })).status, 202);
    await v2.blobs.commit(other.split('/').at(-1) as UploadId, sha256(bytes) as Digest, bytes.length);
    assert.equal((await v2.client.send('PUT', put)).code, 'BLOB_UPLOAD_UNKNOWN');
  });

  it('a closing PUT, at a process that saw other bytes of the same length, does not take these for those', async () => {
    const [bytes, others] = [randomBytes(HALF.length), randomBytes(HALF.length)];
    const location = await v2.client.startUpload(REPOSITORY);
    assert.equal((await v2.client.send('PATCH', location, { body: bytes })).status, 202);
    await v2.blobs.discard(location.split('/').at(-1) as UploadId);
    assert.equal((await v2.other.send('PATCH', location, { body: others })).status, 202);
    assert.equal((await v2.client.send('PUT', `${location}?digest=${sha256(bytes)}`)).code, 'DIGEST_INVALID');
    const again = await v2.client.pushBlob(REPOSITORY, bytes);
    assert.deepEqual((await v2.client.send('GET', `/v2/${REPOSITORY}/blobs/${again}`)).body, bytes);
  });

  it('an upload, once its closing PUT has verified its bytes, takes no others and is closed as nothing else', async () => {
    const bytes = randomBytes(HALF.length);
    const location = await v2.client.startUpload(REPOSITORY);
    assert.equal((await v2.client.send('PATCH', location, { body: bytes })).status, 202);
    const put = await placeWithoutLedger(location, bytes);
    const status = await v2.client.send('GET', location);
    assert.equal(status.headers.range, `0-${bytes.length - 1}`);
    const more = await v2.client.send('PATCH', location, { body: Buffer.from('more') });
    assert.equal(more.code, 'BLOB_UPLOAD_INVALID');
    assert.match(more.message, /being closed as sha256:/);
    assert.equal((await v2.other.send('PUT', put)).status, 201);

    const another = await v2.client.startUpload(REPOSITORY);
    assert.equal((await v2.client.send('PATCH', another, { body: bytes })).status, 202);
    await placeWithoutLedger(another, bytes);
    const other = Buffer.concat([bytes, Buffer.from('more')]);
    const answer = await v2.client.send('PUT', `${another}?digest=${sha256(other)}`, { body: 'more' });
    assert.equal(answer.code, 'DIGEST_INVALID');
    const stored = await v2.client.send('GET', `/v2/${REPOSITORY}/blobs/${sha256(bytes)}`);
    assert.deepEqual(stored.body, bytes);
  });

  it('a closing PUT, of a digest whose bytes its upload never had, links nothing that is stored', async () => {
    const bytes = randomBytes(HALF.length);
    await v2.client.pushBlob('other/private', bytes);
    const location = await v2.client.startUpload(REPOSITORY);
    const answer = await v2.client.send('PUT', `${location}?digest=${sha256(bytes)}`);
    assert.equal(answer.code, 'DIGEST_INVALID');
    const again = await v2.client.startUpload(REPOSITORY);
    assert.equal((await v2.client.send('PATCH', again, { body: bytes.subarray(1) })).status, 202);
    await v2.blobs.withdraw(again.split('/').at(-1) as UploadId);
    // A process that did not see the bytes cannot say that the digest is wrong.
    const lost = await v2.other.send('PUT', `${again}?digest=${sha256(bytes)}`);
    assert.equal(lost.code, 'BLOB_UPLOAD_UNKNOWN');
    assert.equal((await v2.client.send('HEAD', `/v2/${REPOSITORY}/blobs/${sha256(bytes)}`)).status, 404);
  });

  it('an upload, whose staged bytes are gone, is unknown to the closing PUT: the digest was no mistake', async () => {
    const location = await v2.client.startUpload(REPOSITORY);
    const patched = await v2.client.send('PATCH', location, { body: HALF });
    assert.equal(patched.status, 202);
    await v2.blobs.withdraw(location.split('/').at(-1) as never);
    const answer = await v2.client.send('PUT', `${location}?digest=${sha256(HALF)}`);
    assert.equal(answer.status, 404);
    assert.equal(answer.code, 'BLOB_UPLOAD_UNKNOWN');
  });

  /** Sends what is missing, as a client does that was told the offset. */
  async function goOn(client: V2Client, location: string, offset: number): Promise<void> {
    const headers = { 'content-range': `${offset}-${BYTES.length - 1}` };
    const answer = await client.send('PATCH', location, { headers, body: BYTES.subarray(offset) });
    assert.equal(answer.status, 202, answer.body.toString());
    await finish(client, location, BYTES);
  }

  it('a PATCH, whose client goes away, keeps what arrived, and the upload goes on from there', async () => {
    const location = await v2.client.startUpload(REPOSITORY);
    const socket = await hangingPatch(location, HALF, BYTES.length);
    socket.destroy();
    const status = async () => offsetOf(await v2.client.send('GET', location));
    await until(async () => (await status()) > 0);
    await goOn(v2.client, location, await status());
  });

  it('a PATCH, whose client goes away, keeps also what had not been written yet', async () => {
    const location = await v2.client.startUpload(REPOSITORY);
    const part = BYTES.subarray(0, 300_001);
    const socket = await hangingPatch(location, part, BYTES.length);
    socket.destroy();
    const status = async () => offsetOf(await v2.client.send('GET', location));
    await until(async () => (await status()) > 0);
    assert.equal(await status(), part.length);
    await goOn(v2.client, location, part.length);
  });

  for (const where of ['this', 'another'] as const) {
    it(`a PATCH that hangs in this process, when its client comes back to ${where} process, gives way`, async () => {
      const client = where === 'this' ? v2.client : v2.other;
      const location = await v2.client.startUpload(REPOSITORY);
      const socket = await hangingPatch(location, HALF, BYTES.length);
      const headers = { 'content-range': `0-${BYTES.length - 1}` };
      const told = await client.send('PATCH', location, { headers, body: BYTES });
      assert.equal(told.status, 416);
      await goOn(client, location, offsetOf(told));
      socket.destroy();
    });
  }

  it('an upload, held by a process that died, is waited for and goes on', async () => {
    const bytes = Buffer.from('the holder died');
    const location = await v2.client.startUpload(REPOSITORY);
    const id = location.split('/').at(-1) as never;
    await v2.meta.transaction((tx) => tx.uploads.acquire(id, 'dead', 300), { durable: false });
    await v2.client.send('PATCH', location, { body: bytes });
    await finish(v2.client, location, bytes);
  });

  it('DELETE, of an upload that a PATCH holds, ends both', async () => {
    const location = await v2.client.startUpload(REPOSITORY);
    const socket = await hangingPatch(location, HALF, BYTES.length);
    assert.equal((await v2.client.send('DELETE', location)).status, 204);
    assert.equal((await v2.client.send('GET', location)).status, 404);
    socket.destroy();
  });

  it('expireUploads drops what is idle too long, and only that', async () => {
    const old = await v2.client.startUpload(REPOSITORY);
    await v2.client.send('PATCH', old, { body: 'old' });
    v2.clock.advance(8 * 24 * 3600);
    const young = await v2.client.startUpload(REPOSITORY);
    await v2.client.send('PATCH', young, { body: 'young' });
    assert.ok((await expireUploads(v2, { limit: 1000, fence: noFence })) >= 1);
    assert.equal((await v2.client.send('GET', old)).status, 404);
    assert.equal(await v2.blobs.staged(old.split('/').at(-1) as never), null);
    assert.equal((await v2.client.send('GET', young)).headers['range'], '0-4');
  });

  it('sweepStaged removes bytes without an upload after the grace period, and no others', async () => {
    const location = await v2.client.startUpload(REPOSITORY);
    const orphan = 'f'.repeat(32) as never;
    const junk = async function* () {
      yield Buffer.from('left by a crash');
    };
    await v2.blobs.append(orphan, 0, junk(), new AbortController().signal);
    const late = { ...v2, clock: { now: () => Date.now() + 3_600_000 } };
    assert.equal(await sweepStaged(late, 7200), 0);
    assert.equal(await sweepStaged(late, 1800), 1);
    assert.equal(await v2.blobs.staged(orphan), null);
    assert.equal((await v2.client.send('GET', location)).status, 204);
  });
});

describe('uploads in one request', () => {
  let v2: V2Server;
  before(async () => {
    v2 = await startV2({ DRIFT_LIMITS_UPLOADS_OPEN: '1' });
  });
  after(() => v2.stop());

  it('POST ?digest=, while its body comes, counts as an open upload for every process', async () => {
    const bytes = randomBytes(1000);
    const path = `/v2/${REPOSITORY}/blobs/uploads/`;
    const socket = connect(v2.client.port, '127.0.0.1');
    socket.on('error', () => {});
    const head = `POST ${path}?digest=${sha256(bytes)} HTTP/1.1\r\nHost: x\r\nConnection: close`;
    socket.write(`${head}\r\nAuthorization: ${basic(ADMIN)}\r\nContent-Length: ${bytes.length}\r\n\r\n`);
    while ((await v2.meta.read.uploads.count()) === 0) await sleep(10);
    assert.equal((await v2.other.send('POST', path)).code, 'TOOMANYREQUESTS');
    const other = randomBytes(10);
    const refused = await v2.other.send('POST', `${path}?digest=${sha256(other)}`, { body: other });
    assert.equal(refused.code, 'TOOMANYREQUESTS');
    socket.write(bytes);
    const answer = (await socket.toArray()).join('');
    assert.match(answer, /^HTTP\/1\.1 201 /);
    assert.equal(await v2.meta.read.uploads.count(), 0);
  });

  it('POST ?digest=, another digest than its bytes have, leaves nothing open and nothing staged', async () => {
    const path = `/v2/${REPOSITORY}/blobs/uploads/?digest=${sha256('other')}`;
    assert.equal((await v2.client.send('POST', path, { body: 'bytes' })).code, 'DIGEST_INVALID');
    assert.equal(await v2.meta.read.uploads.count(), 0);
    assert.deepEqual((await v2.blobs.listStaged(null, 9)).entries, []);
  });
});
