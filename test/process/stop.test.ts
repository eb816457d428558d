import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { EXIT } from '../../src/std/exit-codes.ts';
import { basic, openConnection } from '../harness/http-connection.ts';
import { digestOf, pushBlob } from '../harness/push-image.ts';
import { type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';

const PASSWORD = 'correct-horse-battery';
const headers = basic('admin', PASSWORD);
const USERS = { DRIFT_USERS: `admin:${PASSWORD}` };
/** More than all socket buffers on the way hold. */
const BLOB = Buffer.alloc(64 * 1024 * 1024, 'drift');

/** A download that has begun and is not being read. */
async function beginDownload(drift: SpawnedDrift): Promise<IncomingMessage> {
  const connection = openConnection(drift.registryUrl);
  const digest = await pushBlob({ connection, repository: 'ghost/demo', headers }, BLOB);
  connection.close();
  const call = request(new URL(`/v2/ghost/demo/blobs/${digest}`, drift.registryUrl), {
    headers,
    agent: false,
  });
  call.end();
  const [answer] = (await once(call, 'response')) as [IncomingMessage];
  assert.equal(answer.statusCode, 200);
  return answer;
}

async function isRefused(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  try {
    await once(socket, 'connect');
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
  } finally {
    socket.destroy();
  }
}

async function untilRefused(url: string): Promise<void> {
  while (!(await isRefused(url))) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Ended processes whose new parent has not asked yet do not count. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch (error) {
    // ESRCH: it ended between the opening and the reading.
    if (['ENOENT', 'ESRCH'].includes(String((error as NodeJS.ErrnoException).code))) return false;
    throw error;
  }
}

describe('drift serve that is told to stop', () => {
  it('SIGTERM, while a download runs, refuses new connections, lets the download end and exits 0', async () => {
    const drift = await spawnDrift({ env: USERS });
    const answer = await beginDownload(drift);
    drift.signal('SIGTERM');
    await untilRefused(drift.registryUrl);
    await untilRefused(drift.consoleUrl);
    const chunks: Buffer[] = [];
    for await (const chunk of answer) chunks.push(chunk as Buffer);
    assert.equal(digestOf(Buffer.concat(chunks)), digestOf(BLOB));
    assert.deepEqual(await drift.ended, { code: EXIT.OK, signal: null });
    await drift.stop();
  });

  it('SIGTERM, with a download that does not end in the drain time, cuts it off and exits 0', async () => {
    const drift = await spawnDrift({ env: { ...USERS, DRIFT_DRAIN_TIME: '1s' } });
    const answer = await beginDownload(drift);
    const cut = once(answer, 'error');
    drift.signal('SIGTERM');
    assert.deepEqual(await drift.ended, { code: EXIT.OK, signal: null });
    answer.resume();
    await cut;
    await drift.stop();
  });

  it('a second signal, during the drain, ends it at once', async () => {
    const drift = await spawnDrift({ env: { ...USERS, DRIFT_DRAIN_TIME: '10m' } });
    const answer = await beginDownload(drift);
    answer.on('error', () => {});
    drift.signal('SIGINT');
    await drift.waitForLog((line) => line.msg.startsWith('stopping'));
    // At once: the echo of the first. Later: somebody who means it.
    drift.signal('SIGINT');
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    assert.ok(!drift.logs().some((line) => line.msg.startsWith('second signal')));
    drift.signal('SIGINT');
    assert.deepEqual(await drift.ended, { code: EXIT.INTERRUPTED, signal: null });
    await drift.stop();
  });

  it('a clean stop, after writes, leaves no write-ahead log to recover', async () => {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'drift-stop-'));
    try {
      const drift = await spawnDrift({ dataDirectory, env: USERS });
      const connection = openConnection(drift.registryUrl);
      await pushBlob({ connection, repository: 'ghost/demo', headers }, Buffer.from('some bytes'));
      connection.close();
      assert.deepEqual(await drift.stop(), { code: EXIT.OK, signal: null });
      const log = join(dataDirectory, 'drift.db-wal');
      assert.ok(!existsSync(log) || statSync(log).size === 0);
    } finally {
      rmSync(dataDirectory, { recursive: true, force: true });
    }
  });

  it('the primary, killed, takes its children with it', async () => {
    const drift = await spawnDrift({ env: USERS });
    const children = readFileSync(`/proc/${drift.pid}/task/${drift.pid}/children`, 'utf8').trim().split(' ');
    assert.equal(children.length, 3, 'two workers and the jobs process');
    assert.deepEqual(await drift.kill(), { code: null, signal: 'SIGKILL' });
    for (const pid of [drift.pid, ...children.map(Number)]) {
      while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
});
