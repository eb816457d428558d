/** A whole registry whose devices can be made to fail, and what it still has to do then. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { SeededRandom } from '../crash/seeded-random.ts';
import { runDrift, type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';
import { ADMIN, type Answer, sha256, V2Client } from '../v2/v2-client.ts';

export const run = promisify(execFile);
const DEVICE_BYTES = 16 * 1024 * 1024;
export const BLOB_BYTES = 2 * 1024 * 1024;
export const random = new SeededRandom(5);

export interface Served {
  readonly drift: SpawnedDrift;
  readonly client: V2Client;
  readonly env: Readonly<Record<string, string>>;
  readonly blob: Buffer;
  readonly image: { readonly digest: string; readonly bytes: Buffer };
}

/** Undone in the opposite order: a server ends before its device goes. */
export type Undo = (() => Promise<unknown>)[];

export function undoAfter(t: TestContext): Undo {
  const undo: Undo = [];
  t.after(async () => {
    for (const step of undo.reverse()) await step();
  });
  return undo;
}

export async function directory(undo: Undo, device: 'small' | 'large'): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'drift-device-'));
  undo.push(() => rm(path, { recursive: true, force: true }));
  if (device === 'small') {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${DEVICE_BYTES},mode=0700`, 'tmpfs', path]);
    undo.push(() => run('umount', [path]));
  }
  return path;
}

/** One worker, so that the connection of the client is to the process that matters. */
export async function serve(
  undo: Undo,
  places: { readonly root: string; readonly ledger: string },
  more: Readonly<Record<string, string>> = {},
): Promise<Served> {
  const env = {
    ...more,
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
export async function fill(path: string): Promise<() => Promise<void>> {
  const file = join(path, 'filler');
  await assert.rejects(writeFile(file, Buffer.alloc(2 * DEVICE_BYTES)), { code: 'ENOSPC' });
  return () => rm(file);
}

export async function assertReads({ client, blob, image }: Served): Promise<void> {
  const manifest = await client.send('GET', '/v2/ghost/demo/manifests/kept');
  assert.equal(manifest.status, 200);
  assert.ok(manifest.body.equals(image.bytes));
  const bytes = await client.send('GET', `/v2/ghost/demo/blobs/${sha256(blob)}`);
  assert.equal(bytes.status, 200);
  assert.ok(bytes.body.equals(blob));
}

export async function push(client: V2Client, bytes: Buffer): Promise<Answer> {
  return client.send('POST', `/v2/ghost/demo/blobs/uploads/?digest=${sha256(bytes)}`, { body: bytes });
}

/** 503 or 507, and a sentence for a person that names no path of ours. */
export function assertRefused(answer: Answer, status: number, sentence: RegExp): void {
  assert.equal(answer.status, status, answer.body.toString());
  assert.match(answer.message, sentence);
  assert.doesNotMatch(answer.message, /\/tmp\//);
}

export async function assertWritesAgain({ client, drift, env }: Served): Promise<void> {
  const bytes = random.bytes(BLOB_BYTES);
  assert.equal((await push(client, bytes)).status, 201);
  assert.ok((await client.send('GET', `/v2/ghost/demo/blobs/${sha256(bytes)}`)).body.equals(bytes));
  const image = await client.pushImage('ghost/demo', `again-${random.integer(1000)}`, { content: 'again' });
  assert.equal((await client.send('GET', `/v2/ghost/demo/manifests/${image.digest}`)).status, 200);
  const fsck = await runDrift(['fsck', '--rehash'], { dataDirectory: drift.dataDirectory, env });
  assert.equal(fsck.code, 0, fsck.stdout);
  assert.doesNotMatch(fsck.stdout, /damage/);
}
