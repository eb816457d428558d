import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { startGhostbay } from '../harness/ghostbay.ts';
import { GHOSTBAY_BUCKET, strayKeys } from '../harness/ghostbay-bucket.ts';
import { digestOf } from '../harness/push-image.ts';
import { runDrift, spawnDrift } from '../harness/spawn-drift.ts';

const MIB = 1024 * 1024;
const USER = 'admin:correct-horse-battery';
const authorization = `Basic ${Buffer.from(USER).toString('base64')}`;

it('drift serve on GhostBay: an upload in chunks, a restart in its middle, a pull and fsck', async (t) => {
  const double = await startGhostbay();
  t.after(() => double.stop());
  await fetch(`${double.endpoint}/${GHOSTBAY_BUCKET}`, { method: 'PUT' });
  const env = {
    DRIFT_USERS: USER,
    DRIFT_STORAGE_BACKEND: 'ghostbay',
    DRIFT_GHOSTBAY_ENDPOINT: double.endpoint,
    DRIFT_GHOSTBAY_BUCKET: GHOSTBAY_BUCKET,
    DRIFT_GHOSTBAY_ACCESS_KEY: 'AKIA0000000000000000',
    DRIFT_GHOSTBAY_SECRET_KEY: 'secret',
    DRIFT_GHOSTBAY_SEGMENT_SIZE: '1MiB',
  };
  const dataDirectory = await mkdtemp(join(tmpdir(), 'drift-ghostbay-'));
  t.after(() => rm(dataDirectory, { recursive: true }));
  const before = await spawnDrift({ env, dataDirectory });
  const bytes = randomBytes(5 * MIB + 17);
  const digest = digestOf(bytes);
  const ask = (
    url: string,
    init: { method?: string; headers?: Record<string, string>; body?: Buffer<ArrayBuffer> } = {},
  ) =>
    fetch(url, {
      ...init,
      headers: { authorization, 'content-type': 'application/octet-stream', ...init.headers },
    });

  const begun = await ask(`${before.registryUrl}/v2/a/b/blobs/uploads/`, { method: 'POST' });
  assert.equal(begun.status, 202);
  const path = new URL(begun.headers.get('location') ?? '', before.registryUrl).pathname;
  const first = await ask(`${before.registryUrl}${path}`, {
    method: 'PATCH',
    body: bytes.subarray(0, 2 * MIB + 5),
  });
  assert.equal(first.status, 202);
  await before.kill();
  const after = await spawnDrift({ env, dataDirectory });
  t.after(() => after.stop());
  const rest = await ask(`${after.registryUrl}${path}`, {
    method: 'PATCH',
    body: bytes.subarray(2 * MIB + 5),
  });
  assert.equal(rest.status, 202);
  const placed = await ask(`${after.registryUrl}${path}?digest=${digest}`, { method: 'PUT' });
  assert.equal(placed.status, 201);

  const blob = `${after.registryUrl}/v2/a/b/blobs/${digest}`;
  assert.ok(Buffer.from(await (await ask(blob)).arrayBuffer()).equals(bytes));
  const part = await ask(blob, { headers: { range: 'bytes=1500000-3000000' } });
  assert.equal(part.status, 206);
  assert.ok(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(1_500_000, 3_000_001)));
  assert.deepEqual(await strayKeys(double), []);
  const checked = await runDrift(['fsck', '--rehash'], { dataDirectory, env });
  assert.equal(checked.code, 0, checked.stdout + checked.stderr);
  assert.match(checked.stdout, /Ledger and blobs agree/);
  const copied = await runDrift(['backup', join(dataDirectory, 'copy.db')], { dataDirectory, env });
  assert.match(copied.stdout, /Copy the data of GhostBay \(bucket "drift-registry"\) after it\.\n$/);
  assert.ok(double.bodyBytesMax() < 3 * MIB, `a body had ${double.bodyBytesMax()} bytes`);
});
