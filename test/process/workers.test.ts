import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { EXIT } from '../../src/std/exit-codes.ts';
import { basic, type HttpConnection, openConnection } from '../harness/http-connection.ts';
import { digestOf, pushImage } from '../harness/push-image.ts';
import { type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';

const PASSWORD = 'correct-horse-battery';
const USERS = { DRIFT_USERS: `admin:${PASSWORD}` };
const headers = basic('admin', PASSWORD);

interface Worker {
  readonly connection: HttpConnection;
  readonly role: string;
  readonly pid: number;
}

/** Connections that all go to one of two workers are less likely than a broken machine. */
const ATTEMPTS_MAX = 64;

/** A connection to each worker: which one takes a new connection is the kernel's choice. */
async function connectToEach(drift: SpawnedDrift, count: number): Promise<readonly Worker[]> {
  const workers = new Map<string, Worker>();
  for (let attempt = 0; workers.size < count && attempt < ATTEMPTS_MAX; attempt += 1) {
    const connection = openConnection(drift.registryUrl);
    const id = `find-worker-${performance.now()}`;
    await connection.ask('/v2/', { headers: { 'X-Request-Id': id } });
    const line = await drift.waitForLog((each) => each['requestId'] === id);
    const role = String(line['role']);
    if (workers.has(role)) connection.close();
    else workers.set(role, { connection, role, pid: Number(line['pid']) });
  }
  assert.equal(workers.size, count, 'every worker got a connection');
  return [...workers.values()];
}

describe('workers of one registry', () => {
  let drift: SpawnedDrift;
  let first: Worker;
  let second: Worker;

  before(async () => {
    drift = await spawnDrift({ env: USERS });
    [first, second] = (await connectToEach(drift, 2)) as [Worker, Worker];
  });

  after(async () => {
    first.connection.close();
    second.connection.close();
    await drift.stop();
  });

  it('an upload, begun on one worker, goes on and ends on the other', async () => {
    const bytes = Buffer.from('half of it here, half of it there');
    const begun = await first.connection.ask('/v2/ghost/demo/blobs/uploads/', { method: 'POST', headers });
    assert.equal(begun.status, 202);
    const place = String(begun.headers.location);
    const chunk = (part: Buffer) => ({ method: 'PATCH', headers, body: part });
    assert.equal((await first.connection.ask(place, chunk(bytes.subarray(0, 16)))).status, 202);
    assert.equal((await second.connection.ask(place, chunk(bytes.subarray(16)))).status, 202);
    const digest = digestOf(bytes);
    const done = await first.connection.ask(`${place}?digest=${digest}`, { method: 'PUT', headers });
    assert.equal(done.status, 201, done.text);
    const pulled = await second.connection.ask(`/v2/ghost/demo/blobs/${digest}`, { headers });
    assert.deepEqual(pulled.body, bytes);
  });

  it('a tag, deleted on one worker, is gone on the other with the next request', async () => {
    await pushImage({ connection: first.connection, repository: 'ghost/tags', headers }, 'gone');
    const path = '/v2/ghost/tags/manifests/gone';
    assert.equal((await second.connection.ask(path, { headers })).status, 200);
    assert.equal((await first.connection.ask(path, { method: 'DELETE', headers })).status, 202);
    assert.equal((await second.connection.ask(path, { headers })).status, 404);
  });

  it('metrics, asked of either worker, count the requests of both', async () => {
    const count = async (worker: Worker): Promise<number> => {
      const { text } = await worker.connection.ask('/metrics');
      const line = /^drift_http_requests_total\{route="v2_catalog",method="GET",code="200"\} (\d+)$/m.exec(
        text,
      );
      return Number(line?.[1] ?? 0);
    };
    const before = await count(first);
    for (const worker of [first, first, second]) {
      assert.equal((await worker.connection.ask('/v2/_catalog', { headers })).status, 200);
    }
    assert.equal(await count(first), before + 3);
    assert.equal(await count(second), before + 3);
  });

  it('metrics, of all kinds that the manual names, are there', async () => {
    const { text } = await first.connection.ask('/metrics');
    for (const name of [
      'drift_http_requests_total',
      'drift_http_request_duration_seconds_bucket',
      'drift_http_received_bytes_total',
      'drift_http_sent_bytes_total',
      'drift_uploads_in_flight',
      'drift_blob_store_operation_seconds_count',
      'drift_meta_store_operation_seconds_count',
      'drift_logins_total',
      'drift_build_info',
      'nodejs_eventloop_lag_p99_seconds',
      'process_resident_memory_bytes',
    ]) {
      assert.match(text, new RegExp(`^${name}[ {]`, 'm'));
    }
  });

  // Last: the second worker is another one afterwards.
  it('a worker, killed, is replaced at once and the service goes on meanwhile', async () => {
    process.kill(second.pid, 'SIGKILL');
    for (let round = 0; round < 20; round += 1) {
      assert.equal((await first.connection.ask('/v2/', { headers })).status, 200);
    }
    await drift.waitForLog((line) => line.msg === 'replacement is ready' && line['child'] === second.role);
    const [one, other] = (await connectToEach(drift, 2)) as [Worker, Worker];
    for (const { connection, pid } of [one, other]) {
      assert.notEqual(pid, second.pid);
      assert.equal((await connection.ask('/v2/', { headers })).status, 200);
      connection.close();
    }
  });
});

describe('a registry that is started again', () => {
  it('an upload, begun before the start, goes on after it', async () => {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'drift-again-'));
    const bytes = Buffer.from('before and after');
    const digest = digestOf(bytes);
    try {
      const before = await spawnDrift({ dataDirectory, env: USERS });
      const connection = openConnection(before.registryUrl);
      const begun = await connection.ask('/v2/ghost/demo/blobs/uploads/', { method: 'POST', headers });
      const place = String(begun.headers.location);
      await connection.ask(place, { method: 'PATCH', headers, body: bytes.subarray(0, 7) });
      connection.close();
      await before.kill();
      const after = await spawnDrift({ dataDirectory, env: USERS });
      const again = openConnection(after.registryUrl);
      const status = await again.ask(place, { headers });
      assert.equal(status.headers.range, '0-6');
      const rest = { method: 'PUT', headers, body: bytes.subarray(7) };
      const done = await again.ask(`${place}?digest=${digest}`, rest);
      assert.equal(done.status, 201, done.text);
      assert.deepEqual((await again.ask(`/v2/ghost/demo/blobs/${digest}`, { headers })).body, bytes);
      again.close();
      await after.stop();
    } finally {
      rmSync(dataDirectory, { recursive: true, force: true });
    }
  });
});

/** Children of the primary that serve HTTP, ready or not. */
function workerPids(primary: number): readonly number[] {
  const children = readFileSync(`/proc/${primary}/task/${primary}/children`, 'utf8').trim();
  return children
    .split(' ')
    .map(Number)
    .filter((pid) => pid > 0 && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker.ts'));
}

describe('workers that crash again and again', () => {
  it('a crash loop, beyond the budget, ends with one clear sentence and CRASH_LOOP', async () => {
    const drift = await spawnDrift({ env: { ...USERS, DRIFT_WORKERS: '1' } });
    let isOver = false;
    void drift.ended.then(() => {
      isOver = true;
    });
    try {
      while (!isOver) {
        try {
          for (const pid of workerPids(drift.pid)) process.kill(pid, 'SIGKILL');
        } catch {
          // It ended between the look and the kill.
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.deepEqual(await drift.ended, { code: EXIT.CRASH_LOOP, signal: null });
      const sentences = drift
        .output()
        .filter((line) => line.includes('crashed more than 10 times within 60 s'));
      assert.equal(sentences.length, 1);
    } finally {
      await drift.stop();
    }
  });
});
