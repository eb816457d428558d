/**
 * A file system that is really full: a small tmpfs. Needs root, to mount it; without root these tests fail rather than
 * pretend.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { BlobStore, UploadId } from '../../src/blobs/blob-store.ts';
import { openFsBlobStore } from '../../src/blobs/fs/fs-blob-store.ts';
import { newUploadId } from '../../src/blobs/upload-id.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { Unavailable } from '../../src/std/unavailable.ts';

const run = promisify(execFile);
const signal = new AbortController().signal;
const DEVICE_BYTES = 8 * 1024 * 1024;

it('append, a device that fills up, is full; the upload is discarded and the next one succeeds', async (t) => {
  const root = await smallDevice(t);
  const store = await openFsBlobStore({ root });
  const kept = Buffer.alloc(1024 * 1024, 'kept');
  const blob = await store.commit(await stageBytes(store, kept), digestOf('sha256', kept), kept.length);

  const id = newUploadId();
  await assert.rejects(store.append(id, 0, zeros(2 * DEVICE_BYTES), signal), isFull);
  const staged = (await store.staged(id))?.sizeBytes ?? assert.fail();
  assert.ok(staged > 0 && staged < DEVICE_BYTES);
  assert.equal((await store.space?.())?.freeBytes, 0);

  // Reads and deletes go on.
  const body = await store.open(blob!.location, null, signal);
  const chunks = [];
  for await (const chunk of body?.chunks ?? []) chunks.push(chunk);
  assert.ok(Buffer.concat(chunks).equals(kept));
  await store.discard(id);
  const next = Buffer.alloc(3 * 1024 * 1024, 'next');
  assert.equal(
    (await store.commit(await stageBytes(store, next), digestOf('sha256', next), next.length))?.sizeBytes,
    3_145_728,
  );
  await store.delete(blob!.location);
  assert.deepEqual((await store.listStaged(null, 10)).entries, []);
});

it('probe and openFsBlobStore, a full device, are full and leave no probe file', async (t) => {
  const root = await smallDevice(t);
  const store = await openFsBlobStore({ root });
  await assert.rejects(writeFile(join(root, 'filler'), Buffer.alloc(2 * DEVICE_BYTES)), { code: 'ENOSPC' });
  await assert.rejects(store.probe(signal), isFull);
  await assert.rejects(openFsBlobStore({ root }), isFull);
  assert.deepEqual((await readdir(root)).sort(), ['blobs', 'filler', 'uploads']);
});

it('openFsBlobStore, a device mounted read-only, says so', async (t) => {
  const root = await smallDevice(t);
  await run('mount', ['-o', 'remount,ro', root]);
  await assert.rejects(openFsBlobStore({ root }), /mounted read-only/);
});

async function smallDevice(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'drift-full-'));
  await run('mount', ['-t', 'tmpfs', '-o', `size=${DEVICE_BYTES},mode=0700`, 'tmpfs', path]);
  t.after(async () => {
    await run('umount', [path]);
    await rmdir(path);
  });
  return path;
}

async function* zeros(bytes: number): AsyncGenerator<Uint8Array> {
  for (let sent = 0; sent < bytes; sent += 65_536) yield Buffer.alloc(65_536);
}

async function stageBytes(store: BlobStore, bytes: Uint8Array): Promise<UploadId> {
  const id = newUploadId();
  await store.append(
    id,
    0,
    (async function* () {
      yield bytes;
    })(),
    signal,
  );
  return id;
}

function isFull(error: unknown): boolean {
  assert.ok(error instanceof Unavailable, String(error));
  assert.equal(error.full, true);
  return true;
}
