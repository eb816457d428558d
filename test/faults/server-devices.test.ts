/**
 * A whole registry on devices that fill up, turn read-only or run out of descriptors, and are mended again: it goes on
 * by itself. Needs root, to mount small file systems.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { SeededRandom } from '../crash/seeded-random.ts';
import { runDrift, type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';
import { ADMIN, type Answer, IMAGE, sha256, V2Client } from '../v2/v2-client.ts';

const run = promisify(execFile);
const DEVICE_BYTES = 16 * 1024 * 1024;
const BLOB_BYTES = 2 * 1024 * 1024;
const random = new SeededRandom(5);

interface Served {
  readonly drift: SpawnedDrift;
  readonly client: V2Client;
  readonly env: Readonly<Record<string, string>>;
  readonly blob: Buffer;
  readonly image: { readonly digest: string; readonly bytes: Buffer };
}

/** Undone in the opposite order: a server ends before its device goes. */
type Undo = (() => Promise<unknown>)[];

function undoAfter(t: TestContext): Undo {
  const undo: Undo = [];
  t.after(async () => {
    for (const step of undo.reverse()) await step();
  });
  return undo;
}

async function directory(undo: Undo, device: 'small' | 'large'): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'drift-device-'));
  undo.push(() => rm(path, { recursive: true, force: true }));
  if (device === 'small') {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${DEVICE_BYTES},mode=0700`, 'tmpfs', path]);
    undo.push(() => run('umount', [path]));
  }
  return path;
}

/** One worker, so that the connection of the client is to the process that matters. */
async function serve(
  undo: Undo,
  places: { readonly root: string; readonly ledger: string },
): Promise<Served> {
  const env = {
    DRIFT_WORKERS: '1',
    DRIFT_USERS: `${ADMIN.name}:${ADMIN.password}`,
    DRIFT_DATABASE_SQLITE_PATH: join(places.ledger, 'drift.db'),
  };
  const drift = await spawnDrift({ dataDirectory: places.root, env });
  undo.push(() => drift.stop());
  const client = new V2Client(Number(new URL(drift.registryUrl).port));
  undo.push(async () => client.close());
  const blob = random.bytes(BLOB_BYTES);
  await client.pushBlob('ghost/demo', blob);
  return { drift, client, env, blob, image: await client.pushImage('ghost/demo', 'kept') };
}

/** Fills the device to the last byte. */
async function fill(path: string): Promise<() => Promise<void>> {
  const file = join(path, 'filler');
  await assert.rejects(writeFile(file, Buffer.alloc(2 * DEVICE_BYTES)), { code: 'ENOSPC' });
  return () => rm(file);
}

async function assertReads({ client, blob, image }: Served): Promise<void> {
  const manifest = await client.send('GET', '/v2/ghost/demo/manifests/kept');
  assert.equal(manifest.status, 200);
  assert.ok(manifest.body.equals(image.bytes));
  const bytes = await client.send('GET', `/v2/ghost/demo/blobs/${sha256(blob)}`);
  assert.equal(bytes.status, 200);
  assert.ok(bytes.body.equals(blob));
}

async function push(client: V2Client, bytes: Buffer): Promise<Answer> {
  return client.send('POST', `/v2/ghost/demo/blobs/uploads/?digest=${sha256(bytes)}`, { body: bytes });
}

/** 503 or 507, and a sentence for a person that names no path of ours. */
function assertRefused(answer: Answer, status: number, sentence: RegExp): void {
  assert.equal(answer.status, status, answer.body.toString());
  assert.match(answer.message, sentence);
  assert.doesNotMatch(answer.message, /\/tmp\//);
}

async function assertWritesAgain({ client, drift, env }: Served): Promise<void> {
  const bytes = random.bytes(BLOB_BYTES);
  assert.equal((await push(client, bytes)).status, 201);
  assert.ok((await client.send('GET', `/v2/ghost/demo/blobs/${sha256(bytes)}`)).body.equals(bytes));
  const image = await client.pushImage('ghost/demo', `again-${random.integer(1000)}`, { content: 'again' });
  assert.equal((await client.send('GET', `/v2/ghost/demo/manifests/${image.digest}`)).status, 200);
  const fsck = await runDrift(['fsck', '--rehash'], { dataDirectory: drift.dataDirectory, env });
  assert.equal(fsck.code, 0, fsck.stdout);
  assert.doesNotMatch(fsck.stdout, /damage/);
}

it('a registry, a full blob store, refuses blobs with 507, serves, and goes on when there is room', async (t) => {
  const undo = undoAfter(t);
  const root = await directory(undo, 'small');
  const served = await serve(undo, { root, ledger: await directory(undo, 'large') });
  const empty = await fill(root);
  assertRefused(await push(served.client, random.bytes(BLOB_BYTES)), 507, /no room for new content/);
  await assertReads(served);
  // The ledger has room: what needs no bytes in the blob store still works.
  const again = { headers: { 'content-type': IMAGE }, body: served.image.bytes };
  assert.equal((await served.client.send('PUT', '/v2/ghost/demo/manifests/other', again)).status, 201);
  await empty();
  await assertWritesAgain(served);
});

it('a registry, a full ledger, refuses writes with 507, serves, and goes on when there is room', async (t) => {
  const undo = undoAfter(t);
  const ledger = await directory(undo, 'small');
  const served = await serve(undo, { root: await directory(undo, 'large'), ledger });
  const empty = await fill(ledger);
  const tagged = await tagUntilRefused(served);
  assertRefused(tagged.answer, 507, /no room for new content/);
  assertRefused(await push(served.client, random.bytes(BLOB_BYTES)), 507, /no room for new content/);
  await assertReads(served);
  await empty();
  await assertWritesAgain(served);
  await assertTags(served, tagged.tags);
});

it('a registry, ledger and blob store on one full device, refuses writes, serves, and goes on', async (t) => {
  const undo = undoAfter(t);
  const root = await directory(undo, 'small');
  const served = await serve(undo, { root, ledger: root });
  const empty = await fill(root);
  assertRefused(await push(served.client, random.bytes(BLOB_BYTES)), 507, /no room for new content/);
  const tagged = await tagUntilRefused(served);
  assertRefused(tagged.answer, 507, /no room for new content/);
  await assertReads(served);
  await empty();
  await assertWritesAgain(served);
  await assertTags(served, tagged.tags);
});

it('a registry, a blob store that turns read-only, refuses writes with 503, serves, and goes on', async (t) => {
  const undo = undoAfter(t);
  const root = await directory(undo, 'large');
  const served = await serve(undo, { root, ledger: await directory(undo, 'large') });
  // Over it lies the same directory, read-only: what is opened from now on is there.
  await run('mount', ['--bind', root, root]);
  await run('mount', ['-o', 'remount,bind,ro', root]);
  try {
    assertRefused(await push(served.client, random.bytes(BLOB_BYTES)), 503, /blob store cannot serve/);
    await assertReads(served);
  } finally {
    await run('umount', [root]);
  }
  await assertWritesAgain(served);
});

it('a registry, no file descriptor left, answers 503, serves what needs none, and goes on', async (t) => {
  const undo = undoAfter(t);
  const root = await directory(undo, 'large');
  const served = await serve(undo, { root, ledger: root });
  const worker = workerOf(served.drift.pid);
  // A refused body ends its connection, and a new one needs a descriptor: reads have one of their own.
  const reader = new V2Client(served.client.port);
  undo.push(async () => reader.close());
  assert.equal((await reader.send('GET', '/v2/ghost/demo/manifests/kept')).status, 200);
  await assertReads(served);
  // The next descriptor is the lowest that is free: from there on none is given out.
  const used = new Set(readdirSync(`/proc/${worker}/fd`).map(Number));
  let free = 0;
  while (used.has(free)) free += 1;
  await limitFiles(worker, free);
  assertRefused(await push(served.client, random.bytes(BLOB_BYTES)), 503, /blob store cannot serve/);
  const manifest = await reader.send('GET', '/v2/ghost/demo/manifests/kept');
  assert.ok(manifest.body.equals(served.image.bytes));
  await limitFiles(worker, 1024);
  await assertReads(served);
  await assertWritesAgain(served);
});

async function limitFiles(pid: number, soft: number): Promise<void> {
  await run('prlimit', ['--pid', String(pid), `--nofile=${soft}:`]);
}

function workerOf(primary: number): number {
  const children = readFileSync(`/proc/${primary}/task/${primary}/children`, 'utf8').trim().split(' ');
  const worker = children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker.ts'));
  return Number(worker ?? assert.fail('no worker'));
}

/** A full device has room in pages already allocated: a few small commits may still succeed. */
async function tagUntilRefused({ client, image }: Served) {
  const tags: string[] = [];
  for (let number = 0; number < 2_000; number += 1) {
    const tag = `full-${number}`;
    const ask = { headers: { 'content-type': IMAGE }, body: image.bytes };
    const answer = await client.send('PUT', `/v2/ghost/demo/manifests/${tag}`, ask);
    if (answer.status !== 201) return { answer, tags };
    tags.push(tag);
  }
  return assert.fail('the ledger never filled up');
}

async function assertTags({ client, image }: Served, tags: readonly string[]): Promise<void> {
  for (const tag of tags) {
    assert.equal(sha256((await client.send('GET', `/v2/ghost/demo/manifests/${tag}`)).body), image.digest);
  }
  const listed = await client.send('GET', '/v2/ghost/demo/tags/list?n=10000');
  assert.deepEqual(
    listed.json.tags.filter((tag) => tag.startsWith('full-')),
    [...tags].sort(),
  );
}
