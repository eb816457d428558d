/**
 * A whole registry on devices that answer EIO to reads, writes and syncs, and are mended again: it goes on by itself, and
 * what a failed sync may have lost is never answered for.
 */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, IMAGE, sha256 } from '../v2/v2-client.ts';
import { FailingDevice } from './failing-device.ts';
import {
  assertReads,
  assertRefused,
  assertWritesAgain,
  BLOB_BYTES,
  directory,
  push,
  random,
  type Served,
  serve,
  undoAfter,
} from './served-registry.ts';

const LOOK_MILLISECONDS = 100;
const LOOKS_MAX = 200;
const BLOB_STORE = /blob store cannot serve/;
const LEDGER = /meta store cannot serve/;

interface OnFailing extends Served {
  readonly device: FailingDevice;
  readonly root: string;
}

async function serveOnFailing(t: TestContext): Promise<OnFailing> {
  const undo = undoAfter(t);
  const device = await FailingDevice.build(await directory(undo, 'large'));
  const root = await directory(undo, 'large');
  const served = await serve(undo, { root, ledger: await directory(undo, 'large') }, device.env);
  return { ...served, device, root };
}

function blobFile(root: string, bytes: Uint8Array): string {
  const hex = sha256(bytes).slice('sha256:'.length);
  return join(root, 'blobs', 'sha256', hex.slice(0, 2), hex);
}

/** A 201 means bytes that no failed sync has lost. */
function assertNeverLost({ device, root }: OnFailing, bytes: Uint8Array): void {
  const { ino } = statSync(blobFile(root, bytes));
  assert.ok(!device.lost().has(ino), 'a 201 for bytes that a failed sync had lost');
}

function tag({ client, image }: Served, name: string): Promise<Answer> {
  return client.putManifest('ghost/demo', name, image.bytes, { type: IMAGE });
}

it('a registry, EIO from reads of one blob, answers 503 for it, serves the others, and goes on', async (t) => {
  const served = await serveOnFailing(t);
  const { client, device } = served;
  for (const bytes of [random.bytes(BLOB_BYTES), random.bytes(200)]) {
    const digest = await client.pushBlob('ghost/demo', bytes);
    device.fail(`read */${digest.slice('sha256:'.length)}`);
    const path = `/v2/ghost/demo/blobs/${digest}`;
    assertRefused(await client.send('GET', path), 503, BLOB_STORE);
    const ranges = { headers: { range: 'bytes=0-9,20-29' } };
    assertRefused(await client.send('GET', path, ranges), 503, BLOB_STORE);
    await assertReads(served);
    device.mend();
    assert.ok((await client.send('GET', path)).body.equals(bytes));
  }
  await assertWritesAgain(served);
});

it('a registry, EIO from writes of uploads, answers 503, serves, and takes the same upload afterwards', async (t) => {
  const served = await serveOnFailing(t);
  const { client, device } = served;
  const bytes = random.bytes(BLOB_BYTES);
  const location = await client.startUpload('ghost/demo');
  device.fail('write */uploads/*');
  assertRefused(await client.send('PATCH', location, { body: bytes }), 503, BLOB_STORE);
  assertRefused(await push(client, bytes), 503, BLOB_STORE);
  await assertReads(served);
  assert.equal((await tag(served, 'no-bytes')).status, 201);
  device.mend();
  assert.equal((await client.send('PATCH', location, { body: bytes })).status, 202);
  assert.equal((await client.send('PUT', `${location}?digest=${sha256(bytes)}`)).status, 201);
  await assertWritesAgain(served);
});

/** Everything in one closing PUT, and the device loses it. */
async function loseUpload(t: TestContext) {
  const served = await serveOnFailing(t);
  const bytes = random.bytes(BLOB_BYTES);
  const put = `${await served.client.startUpload('ghost/demo')}?digest=${sha256(bytes)}`;
  served.device.fail('sync */uploads/??/*');
  assertRefused(await served.client.send('PUT', put, { body: bytes }), 503, BLOB_STORE);
  return { served, bytes, put };
}

it('a registry, EIO from the sync of an upload, never answers 201 for the bytes that it lost', async (t) => {
  const { served, bytes, put } = await loseUpload(t);
  const { client, device } = served;
  assertRefused(await push(client, random.bytes(BLOB_BYTES)), 503, BLOB_STORE);
  assert.ok(device.lost().size > 0, 'a sync of bytes failed');
  assert.equal((await client.send('HEAD', `/v2/ghost/demo/blobs/${sha256(bytes)}`)).status, 404);
  await assertReads(served);
  device.mend();
  assert.equal((await client.send('PUT', put)).code, 'BLOB_UPLOAD_UNKNOWN');
  assert.equal((await push(client, bytes)).status, 201);
  assertNeverLost(served, bytes);
  await assertWritesAgain(served);
});

it('a registry, EIO from the sync of an upload, takes its bytes again in the same upload', async (t) => {
  const { served, bytes, put } = await loseUpload(t);
  const { client, device } = served;
  device.mend();
  assert.equal((await client.send('PUT', put, { body: bytes })).status, 201);
  assertNeverLost(served, bytes);
  await assertWritesAgain(served);
});

it('a registry, EIO from the sync of a directory of blobs, answers 503, and 201 when the same PUT comes again', async (t) => {
  const served = await serveOnFailing(t);
  const { client, device, root } = served;
  const bytes = random.bytes(BLOB_BYTES);
  const put = `${await client.startUpload('ghost/demo')}?digest=${sha256(bytes)}`;
  const hex = sha256(bytes).slice('sha256:'.length);
  // The directory is there already: its name is durable, the one that comes into it is not.
  await client.pushBlob('ghost/demo', withDirectory(hex.slice(0, 2)));
  device.fail(`sync */blobs/sha256/${hex.slice(0, 2)}`);
  assertRefused(await client.send('PUT', put, { body: bytes }), 503, BLOB_STORE);
  assert.equal((await client.send('HEAD', `/v2/ghost/demo/blobs/${sha256(bytes)}`)).status, 404);
  const before = statSync(blobFile(root, bytes)).ino;
  device.mend();
  assert.equal((await client.send('PUT', put)).status, 201);
  assert.notEqual(statSync(blobFile(root, bytes)).ino, before, 'its name was written again');
  assert.ok((await client.send('GET', `/v2/ghost/demo/blobs/sha256:${hex}`)).body.equals(bytes));
  await assertWritesAgain(served);
});

/** Bytes whose digest begins so. */
function withDirectory(prefix: string): Buffer {
  for (;;) {
    const bytes = random.bytes(16);
    if (sha256(bytes).startsWith(`sha256:${prefix}`)) return bytes;
  }
}

it('a registry, EIO from writes of the ledger, answers 503, serves, and goes on', async (t) => {
  const served = await serveOnFailing(t);
  const { client, device, root } = served;
  const bytes = random.bytes(BLOB_BYTES);
  const put = `${await client.startUpload('ghost/demo')}?digest=${sha256(bytes)}`;
  device.fail('write */drift.db-wal', 'write */drift.db');
  assertRefused(await tag(served, 'later'), 503, LEDGER);
  assertRefused(await push(client, bytes), 503, LEDGER);
  assertRefused(await client.send('PUT', put, { body: bytes }), 503, LEDGER);
  await assertReads(served);
  assert.equal((await client.send('GET', '/v2/ghost/demo/manifests/later')).status, 404);
  device.mend();
  assert.equal((await client.send('PUT', put, { body: bytes })).status, 201);
  assert.ok(statSync(blobFile(root, bytes)).isFile());
  assert.equal((await tag(served, 'later')).status, 201);
  await assertWritesAgain(served);
});

/** As the kernel turns a file system read-only after an error, under the files that are open. */
it('a registry, a ledger that turns read-only, refuses writes with 503, serves, and goes on', async (t) => {
  const served = await serveOnFailing(t);
  const { client, device } = served;
  device.failWith('EROFS', 'write */drift.db*', 'sync */drift.db*');
  assertRefused(await tag(served, 'later'), 503, LEDGER);
  assertRefused(await push(client, random.bytes(BLOB_BYTES)), 503, LEDGER);
  assertRefused(await client.send('DELETE', '/v2/ghost/demo/manifests/kept'), 503, LEDGER);
  await assertReads(served);
  device.mend();
  await untilReady(served);
  assert.equal((await tag(served, 'later')).status, 201);
  await assertReads(served);
  await assertWritesAgain(served);
});

it('a registry, EIO from reads of the ledger, answers 503 with a sentence, and goes on', async (t) => {
  const served = await serveOnFailing(t);
  const { client, device } = served;
  // A commit makes the connection that reads forget its pages.
  assert.equal((await tag(served, 'later')).status, 201);
  device.fail('read */drift.db-wal', 'read */drift.db');
  const path = '/v2/ghost/demo/manifests/later';
  assertRefused(await client.send('GET', path), 503, LEDGER);
  device.mend();
  assert.equal((await client.send('GET', path)).status, 200);
  await assertReads(served);
  await assertWritesAgain(served);
});

it('a registry, EIO from the sync of the ledger, answers 503, serves, and mends its log before it goes on', async (t) => {
  const served = await serveOnFailing(t);
  const { client, device } = served;
  device.fail('sync */drift.db-wal');
  assertRefused(await tag(served, 'lost'), 503, LEDGER);
  assertRefused(await tag(served, 'lost-too'), 503, LEDGER);
  assertRefused(await push(client, random.bytes(BLOB_BYTES)), 503, LEDGER);
  await assertReads(served);
  assert.equal(await isReady(served), false);
  device.mend();
  await untilReady(served);
  assert.equal((await tag(served, 'found')).status, 201);
  await assertReads(served);
  await assertWritesAgain(served);
});

async function isReady({ drift }: Served): Promise<boolean> {
  return (await fetch(`${drift.registryUrl}/readyz`)).status === 200;
}

async function untilReady(served: Served): Promise<void> {
  for (let looks = 0; !(await isReady(served)); looks += 1) {
    if (looks > LOOKS_MAX) assert.fail('it did not come back by itself');
    await sleep(LOOK_MILLISECONDS);
  }
}

it('a registry, EIO from all of both devices, answers no 201, serves what it holds, and goes on', async (t) => {
  const served = await serveOnFailing(t);
  const { device } = served;
  device.fail('write *drift-device-*', 'sync *drift-device-*');
  for (let attempt = 0; attempt < 5; attempt += 1) {
    assert.equal((await push(served.client, random.bytes(BLOB_BYTES))).status, 503);
    assert.equal((await tag(served, `broken-${attempt}`)).status, 503);
  }
  await assertReads(served);
  device.mend();
  await untilReady(served);
  await assertWritesAgain(served);
});
