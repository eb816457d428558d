/** The bucket is away, or broken, in every way that services are: what each route answers, how soon, and after it is back. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  type Fault,
  type FaultProxy,
  INTERNAL_ERROR,
  SLOW_DOWN,
  startFaultProxy,
  UNAVAILABLE,
} from '../harness/fault-proxy.ts';
import { startMinio } from '../harness/minio.ts';
import type { S3Service } from '../harness/s3-service.ts';
import { type StartedRegistry, startRegistry } from '../harness/start-registry.ts';
import { checkAway, EveryRoute, untilMended } from './every-route.ts';

/** All attempts, the pauses between them, and what a busy machine adds. */
const ANSWER_MILLISECONDS_MAX = 20_000;
const MENDED_MILLISECONDS_MAX = 20_000;
/** What cannot be answered without the bytes. Manifests, tags and lists, and what only begins an upload, go on. */
const NEEDS_STORE = new Set(['GET blob', 'GET upload', 'HEAD upload', 'PATCH upload', 'PUT upload']);
/** Ends the upload in the ledger first: its bytes go then, or with a sweep. */
const MAY_NEED_STORE = new Set(['DELETE upload']);

const FAULTS: Readonly<Record<string, Fault>> = {
  'refuses connections': { kind: 'refuse' },
  'takes connections and says nothing': { kind: 'hang' },
  'answers 500': INTERNAL_ERROR,
  'answers 503': UNAVAILABLE,
  'answers SlowDown': SLOW_DOWN,
};
/** What has no body is not touched by these. What is answered as a success is right; `EveryRoute` looks at the bytes. */
const FAULTS_OF_BODIES: Readonly<Record<string, Fault>> = {
  'resets after the first byte of an answer': { kind: 'reset', direction: 'down', afterBytes: 1 },
  'resets after the first byte of a request': { kind: 'reset', direction: 'up', afterBytes: 1 },
  'ends in the middle of an answer': { kind: 'truncate', afterBytes: 1 },
};
const DELAY: Fault = { kind: 'delay', milliseconds: 300 };

describe('the blob store, away', () => {
  let minio: S3Service;
  let line: FaultProxy;
  let registry: StartedRegistry;
  let routes: EveryRoute;

  before(async () => {
    minio = await startMinio();
    line = await startFaultProxy({ protocol: 'http', targetPort: Number(new URL(minio.endpoint).port) });
    registry = await startRegistry({
      env: {
        DRIFT_STORAGE_BACKEND: 's3',
        DRIFT_S3_ENDPOINT: line.through(minio.endpoint),
        DRIFT_S3_REGION: minio.region,
        DRIFT_S3_BUCKET: await minio.createBucket(),
        DRIFT_S3_ACCESS_KEY: minio.accessKey,
        DRIFT_S3_SECRET_KEY: minio.secretKey,
        DRIFT_S3_CONNECT_TIME: '1s',
        DRIFT_S3_REQUEST_TIME: '2s',
        // Or a small blob would be answered from memory.
        DRIFT_LIMITS_MEMORY_CACHE: '0',
      },
    });
    routes = new EveryRoute(registry);
  });
  after(async () => {
    await registry.stop();
    await line[Symbol.asyncDispose]();
    await minio[Symbol.asyncDispose]();
  });

  for (const [name, fault] of Object.entries(FAULTS)) {
    it(`every route, while the line to the store ${name}, is a timely 503 or goes on, and well afterwards`, async () => {
      await routes.prepare();
      await line.set(fault);
      for (const asked of await routes.ask()) {
        if (NEEDS_STORE.has(asked.name)) checkAway(asked, ANSWER_MILLISECONDS_MAX);
        else if (!MAY_NEED_STORE.has(asked.name))
          assert.ok(asked.status < 500, `${asked.name}: ${asked.status}`);
      }
      await line.set({ kind: 'pass' });
      await untilMended(MENDED_MILLISECONDS_MAX, () => routes.pull());
      await routes.push();
    });
  }

  for (const [name, fault] of Object.entries(FAULTS_OF_BODIES)) {
    it(`every route, while the line to the store ${name}, is right or a timely 503, and well afterwards`, async () => {
      await routes.prepare();
      await line.set(fault);
      for (const asked of await routes.ask()) {
        if (asked.status >= 500) checkAway(asked, ANSWER_MILLISECONDS_MAX);
      }
      assert.ok(line.met > 0);
      await line.set({ kind: 'pass' });
      await untilMended(MENDED_MILLISECONDS_MAX, () => routes.pull());
      await routes.push();
    });
  }

  it('every route, while each request to the store is delayed, goes on', async () => {
    await routes.prepare();
    await line.set(DELAY);
    for (const asked of await routes.ask()) assert.ok(asked.status < 500, `${asked.name}: ${asked.status}`);
    assert.ok(line.met > 0);
    await line.set({ kind: 'pass' });
    await routes.pull();
  });
});
