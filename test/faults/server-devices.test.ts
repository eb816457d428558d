/**
 * A whole registry on devices that fill up, turn read-only or run out of descriptors, and are mended again: it goes on
 * by itself. Needs root, to mount small file systems.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { it } from 'node:test';
import { IMAGE, sha256, V2Client } from '../v2/v2-client.ts';
import {
  assertReads,
  assertRefused,
  assertWritesAgain,
  BLOB_BYTES,
  directory,
  fill,
  push,
  random,
  run,
  type Served,
  serve,
  undoAfter,
} from './served-registry.ts';

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

it('a registry, a full ledger and a full blob store apart, refuses writes, serves, and goes on', async (t) => {
  const undo = undoAfter(t);
  const [root, ledger] = [await directory(undo, 'small'), await directory(undo, 'small')];
  const served = await serve(undo, { root, ledger });
  const emptied = [await fill(root), await fill(ledger)];
  assertRefused(await push(served.client, random.bytes(BLOB_BYTES)), 507, /no room for new content/);
  const tagged = await tagUntilRefused(served);
  assertRefused(tagged.answer, 507, /no room for new content/);
  assertRefused(await push(served.client, random.bytes(BLOB_BYTES)), 507, /no room for new content/);
  await assertReads(served);
  for (const empty of emptied) await empty();
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
