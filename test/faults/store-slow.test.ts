/** The bucket takes and gives bytes slowly: clients are held back, not their bytes, and what needs no bytes goes on. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FaultProxy, startFaultProxy } from '../harness/fault-proxy.ts';
import { startMinio } from '../harness/minio.ts';
import { holdingsOf } from '../harness/process-tree.ts';
import type { S3Service } from '../harness/s3-service.ts';
import { type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';
import { ADMIN, basic, sha256, V2Client } from '../v2/v2-client.ts';

const MIB = 1024 * 1024;
const REPOSITORY = 'ghost/slow';
const CLIENTS = 16;
const LAYER_BYTES = 16 * MIB;
/** All parts that may be in memory on their way to the store. */
const UPLOAD_MEMORY_BYTES = 20 * MIB;
/** What is on its way besides: buffers of sockets, and garbage, which waits longer for its collector on a busy machine. */
const OVERHEAD_BYTES_MAX = 140 * MIB;
/** Far less than what all clients would give or take, were it let into memory. */
const GROWTH_BYTES_MAX = UPLOAD_MEMORY_BYTES + OVERHEAD_BYTES_MAX;
/** Each piece of at most 64 KiB waits so long, on four connections at a time. */
const SLOW = { kind: 'delay', milliseconds: 4 } as const;
/** For those who need no bytes, with what a busy machine adds. */
const PROMPT_MILLISECONDS_MAX = 5_000;
const LOOK_EVERY_MILLISECONDS = 50;
const PAUSE_MILLISECONDS = 2_000;
const PART_BYTES = 5 * MIB;
/** What is staged behind the last whole part of an upload, and is read back by whoever goes on with it or ends it. */
const TAIL_BYTES = PART_BYTES - MIB / 4;
const UPLOADS = 32;
/** Far less than `limits.body_idle`, which ends a request that stands still. */
const STANDING_MILLISECONDS_MAX = 30_000;
const NARROW = { kind: 'throttle', bytesPerSecond: 64 * MIB } as const;

describe('the blob store, slow', () => {
  let minio: S3Service;
  let line: FaultProxy;
  let drift: SpawnedDrift;
  let client: V2Client;
  let resting = 0;

  before(async () => {
    minio = await startMinio();
    line = await startFaultProxy({ protocol: 'tcp', targetPort: Number(new URL(minio.endpoint).port) });
    drift = await spawnDrift({
      env: {
        DRIFT_WORKERS: '1',
        DRIFT_USERS: `${ADMIN.name}:${ADMIN.password}`,
        DRIFT_STORAGE_BACKEND: 's3',
        DRIFT_STORAGE_REDIRECT: 'off',
        DRIFT_S3_ENDPOINT: line.through(minio.endpoint),
        DRIFT_S3_REGION: minio.region,
        DRIFT_S3_BUCKET: await minio.createBucket(),
        DRIFT_S3_ACCESS_KEY: minio.accessKey,
        DRIFT_S3_SECRET_KEY: minio.secretKey,
        DRIFT_S3_PART_SIZE: `${PART_BYTES}B`,
        DRIFT_S3_UPLOAD_MEMORY: `${UPLOAD_MEMORY_BYTES}B`,
      },
    });
    client = new V2Client(Number(new URL(drift.registryUrl).port));
    await client.pushImage(REPOSITORY, 'latest');
    // Everything has been in use once before memory is counted.
    const first = randomBytes(LAYER_BYTES);
    await client.pushBlob(REPOSITORY, first);
    await pull(first);
    resting = residentBytes();
  });
  after(async () => {
    client.close();
    await drift.stop();
    await line[Symbol.asyncDispose]();
    await minio[Symbol.asyncDispose]();
  });

  function residentBytes(): number {
    return holdingsOf(drift.pid, drift.dataDirectory).residentBytes;
  }

  async function pull(layer: Buffer): Promise<void> {
    const { status, body } = await client.send('GET', `/v2/${REPOSITORY}/blobs/${sha256(layer)}`);
    assert.equal(status, 200);
    assert.ok(body.equals(layer));
  }

  /** One that asks for the layer and takes nothing of it for a while. */
  async function ask(layer: Buffer): Promise<void> {
    const socket = connect(client.port, '127.0.0.1').pause();
    const head = `GET /v2/${REPOSITORY}/blobs/${sha256(layer)} HTTP/1.1`;
    socket.write(`${head}\r\nHost: r\r\nAuthorization: ${basic(ADMIN)}\r\n\r\n`);
    await once(socket, 'connect');
    await sleep(PAUSE_MILLISECONDS);
    socket.destroy();
  }

  /** Until the work has ended: its memory stays where it was, and whoever needs no bytes is answered. */
  async function expectSteady(work: Promise<unknown>): Promise<void> {
    let isOver = false;
    const ended = work.finally(() => {
      isOver = true;
    });
    let peak = 0;
    while (!isOver) {
      const since = performance.now();
      assert.equal((await client.send('GET', `/v2/${REPOSITORY}/manifests/latest`)).status, 200);
      assert.ok(performance.now() - since < PROMPT_MILLISECONDS_MAX);
      peak = Math.max(peak, residentBytes());
      await sleep(LOOK_EVERY_MILLISECONDS);
    }
    await ended;
    const growth = Math.round((peak - resting) / MIB);
    assert.ok(peak - resting < GROWTH_BYTES_MAX, `it grew by ${growth} MiB`);
  }

  async function send(method: 'PATCH' | 'PUT', location: string, body?: Uint8Array): Promise<string> {
    const { status, headers } = await client.send(method, location, body === undefined ? {} : { body });
    assert.equal(status, method === 'PATCH' ? 202 : 201);
    return String(headers.location);
  }

  const layers = Array.from({ length: CLIENTS }, () => randomBytes(LAYER_BYTES));

  it('takes pushes as fast as it can, and their clients wait', async () => {
    await line.set(SLOW);
    await expectSteady(Promise.all(layers.map((layer) => client.pushBlob(REPOSITORY, layer))));
    await line.set({ kind: 'pass' });
    await Promise.all(layers.map(pull));
  });

  it('gives back what was staged as fast as it can, to those who go on with an upload and who end it', async () => {
    const common = randomBytes(PART_BYTES + TAIL_BYTES);
    const more = randomBytes(7);
    const wholes = Array.from({ length: UPLOADS }, (_, index) =>
      Buffer.concat([Buffer.of(index), common, more]),
    );
    const begun = await Promise.all(
      wholes.map(async (whole) => {
        const location = await client.startUpload(REPOSITORY);
        return await send('PATCH', location, whole.subarray(0, -more.byteLength));
      }),
    );
    await line.set(NARROW);
    const goneOn = Promise.all(begun.map((location) => send('PATCH', location, more)));
    await expectSteady(goneOn);
    const locations = await goneOn;
    const ended = wholes.map((whole, index) => send('PUT', `${locations[index]}?digest=${sha256(whole)}`));
    await expectSteady(Promise.all(ended));
    await line.set({ kind: 'pass' });
    for (const whole of wholes) await pull(whole);
  });

  it('has memory for those who push while others stand still in the middle of theirs, who go on later', async () => {
    const whole = randomBytes(LAYER_BYTES);
    const standing = await Promise.all(
      Array.from({ length: UPLOAD_MEMORY_BYTES / PART_BYTES + 1 }, async () => {
        const location = await client.startUpload(REPOSITORY);
        const headers = { authorization: basic(ADMIN) };
        const sent = request({
          host: '127.0.0.1',
          port: client.port,
          method: 'PATCH',
          path: location,
          headers,
        });
        sent.write(whole.subarray(0, TAIL_BYTES));
        return sent;
      }),
    );
    await sleep(PAUSE_MILLISECONDS);
    const since = performance.now();
    await client.pushBlob(REPOSITORY, randomBytes(LAYER_BYTES));
    assert.ok(performance.now() - since < STANDING_MILLISECONDS_MAX);
    await Promise.all(
      standing.map(async (sent) => {
        const answered = once(sent, 'response') as Promise<[IncomingMessage]>;
        sent.end(whole.subarray(TAIL_BYTES));
        const [response] = await answered;
        response.resume();
        assert.equal(response.statusCode, 202);
        await send('PUT', `${response.headers.location}?digest=${sha256(whole)}`);
      }),
    );
    await pull(whole);
  });

  it('is not read from ahead of clients that take nothing', async () => {
    await expectSteady(Promise.all(layers.map(ask)));
  });

  it('gives as fast as it can to those who pull', async () => {
    await line.set(SLOW);
    await expectSteady(Promise.all(layers.map(pull)));
    await line.set({ kind: 'pass' });
  });
});
