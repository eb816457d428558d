import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, describe, it } from 'node:test';
import {
  type Fault,
  type FaultProxy,
  INTERNAL_ERROR,
  type Occasion,
  SLOW_DOWN,
  s3Error,
  startFaultProxy,
  UNAVAILABLE,
} from '../../../test/harness/fault-proxy.ts';
import { startMinio } from '../../../test/harness/minio.ts';
import { digestOf } from '../../oci/digest.ts';
import { Unavailable } from '../../std/unavailable.ts';
import type { BlobLocation } from '../blob-store.ts';
import { blobBytes, chunksOf, drain, put, stagedBytes } from '../contract-bytes.ts';
import type { S3BlobStore } from './s3-blob-store.ts';
import { type Bucket, openBucket, PART_BYTES } from './testing.ts';

const service = await startMinio();
after(() => service[Symbol.asyncDispose]());

const { signal } = new AbortController();
const LARGE = randomBytes(2 * PART_BYTES + 1234);
/** Two parts, and nearly a third one that waits for more. */
const PARTS = randomBytes(3 * PART_BYTES - 1);
const REQUEST_SECONDS = 1;
/** A part that is not taken at all is given up then. */
const PART_MILLISECONDS_MAX = (REQUEST_SECONDS + PART_BYTES / (1024 * 1024)) * 1000;
/** Eight parts at once take half as long again. */
const NARROW_BYTES_PER_SECOND = (8 * PART_BYTES) / ((1.5 * PART_MILLISECONDS_MAX) / 1000);
/** Attempts, pauses and what the machine is busy with; a caller that hangs takes far longer. */
const ANSWER_MILLISECONDS_MAX = 15_000;

interface World {
  readonly bucket: Bucket;
  readonly proxy: FaultProxy;
  /** Behind the proxy. */
  readonly store: S3BlobStore;
}

async function withFaults(work: (world: World) => Promise<void>): Promise<void> {
  const bucket = await openBucket(service);
  const targetPort = Number(new URL(service.endpoint).port);
  const proxy = await startFaultProxy({ targetPort, protocol: 'http' });
  const endpoint = proxy.through(service.endpoint);
  const store = bucket.open({ endpoint, requestSecondsMax: REQUEST_SECONDS, connectSecondsMax: 1 });
  try {
    await work({ bucket, proxy, store });
    await proxy.set({ kind: 'pass' });
    // It recovers by itself.
    const { location } = await put(store, LARGE, signal);
    assert.ok((await blobBytes(store, location, signal)).equals(LARGE));
    assert.deepEqual(await bucket.leftovers(), []);
  } finally {
    await bucket.close();
    await proxy[Symbol.asyncDispose]();
  }
}

const LASTING: readonly (readonly [name: string, fault: Fault])[] = [
  ['refused connections', { kind: 'refuse' }],
  ['a service that hangs', { kind: 'hang' }],
  ['500', INTERNAL_ERROR],
  ['503', UNAVAILABLE],
  ['SlowDown', SLOW_DOWN],
];

const PASSING: readonly (readonly [name: string, fault: Fault, occasion?: Occasion])[] = [
  ['500', INTERNAL_ERROR],
  ['SlowDown', SLOW_DOWN],
  ['a reset connection', { kind: 'reset', direction: 'down', afterBytes: 0 }],
  [
    'a part that breaks off',
    { kind: 'reset', direction: 'up', afterBytes: 100_000 },
    { path: /partNumber=/ },
  ],
];

async function inTime(work: Promise<unknown>): Promise<Unavailable> {
  const since = performance.now();
  const error: unknown = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof Unavailable, String(error));
  assert.ok(performance.now() - since < ANSWER_MILLISECONDS_MAX);
  return error;
}

describe('faults of an S3 service', () => {
  for (const [name, fault] of LASTING) {
    it(`every operation, ${name} all the time, is unavailable in bounded time`, () =>
      withFaults(async ({ bucket, proxy, store }) => {
        const { location } = await put(bucket.open(), Buffer.from('blob'), signal);
        const id = bucket.newUpload();
        const digest = digestOf('sha256', LARGE);
        await bucket.open().append(id, 0, chunksOf([LARGE]), signal);
        await proxy.set(fault);
        const results = await Promise.all([
          inTime(store.append(bucket.newUpload(), 0, chunksOf(['x']), signal)),
          inTime(store.append(bucket.newUpload(), 0, chunksOf([LARGE]), signal)),
          inTime(store.append(id, LARGE.byteLength, chunksOf(['x']), signal)),
          inTime(store.staged(id)),
          inTime(store.commit(id, digest, LARGE.byteLength)),
          inTime(store.discard(id)),
          inTime(store.withdraw(id)),
          inTime(readAll(store, location)),
          inTime(store.stat(location)),
          inTime(store.delete(location)),
          inTime(store.list(null, 10)),
          inTime(store.listStaged(null, 10)),
          inTime(store.probe(signal)),
        ]);
        assert.deepEqual(
          results.filter(({ retryable }) => !retryable),
          [],
        );
        await proxy.set({ kind: 'pass' });
        await store.withdraw(id);
        assert.equal(store.memory.heldBytes, 0);
      }));
  }

  for (const [name, fault, occasion] of PASSING) {
    it(`a push and a pull, ${name} now and then, notice nothing`, () =>
      withFaults(async ({ bucket, proxy, store }) => {
        const id = bucket.newUpload();
        await proxy.set(fault, { ...occasion, times: 1 });
        await store.append(id, 0, chunksOf([LARGE]), signal);
        assert.equal(proxy.met, 1);
        await proxy.set(fault, { times: occasion === undefined ? 1 : 0 });
        const blob = await store.commit(id, digestOf('sha256', LARGE), LARGE.byteLength);
        assert.ok(blob !== null);
        await proxy.set(fault, { times: occasion === undefined ? 1 : 0 });
        assert.equal((await store.stat(blob.location))?.sizeBytes, LARGE.byteLength);
        assert.ok((await blobBytes(store, blob.location, signal)).equals(LARGE));
      }));
  }

  const batches: Occasion = { method: 'POST', path: /[?&]delete/ };
  for (const [name, fault] of [
    ['a service that takes many at once', { kind: 'delay', milliseconds: 1 }],
    ['a service that has no such request', s3Error(501, 'NotImplemented')],
  ] as const) {
    it(`delete, of many blobs at the same moment, ${name}, removes all of them`, () =>
      withFaults(async ({ proxy, store }) => {
        const blobs = [];
        for (let index = 0; index < 40; index++)
          blobs.push(await put(store, Buffer.from(`blob ${index}`), signal));
        await proxy.set(fault, batches);
        await Promise.all(blobs.map(({ location }) => store.delete(location)));
        assert.equal(proxy.met, 1);
        for (const { location } of blobs) assert.equal(await store.stat(location), null);
        assert.deepEqual((await store.list(null, 100)).entries, []);
      }));
  }

  it('open, a body that ends early, is broken or hangs, throws and never ends as if complete', () =>
    withFaults(async ({ proxy, store }) => {
      const { location } = await put(store, LARGE, signal);
      for (const fault of [
        { kind: 'truncate', afterBytes: 1_000_000 },
        { kind: 'reset', direction: 'down', afterBytes: 1_000_000 },
      ] as const) {
        await proxy.set(fault);
        const body = await store.open(location, null, signal);
        assert.ok(body !== null);
        await inTime(drain(body));
      }
    }));

  it('open, a service that stops in the middle, throws after the time that it may take', () =>
    withFaults(async ({ store, bucket }) => {
      const { location } = await put(store, LARGE, signal);
      const direct = bucket.open({ requestSecondsMax: REQUEST_SECONDS });
      const body = await direct.open(location, null, signal);
      assert.ok(body !== null);
      service.pause();
      try {
        await inTime(drain(body));
      } finally {
        service.resume();
      }
    }));

  it('uploads side by side, a line that brings all of their parts too late, end: it does go on', () =>
    withFaults(async ({ bucket, proxy, store }) => {
      await proxy.set({ kind: 'throttle', bytesPerSecond: NARROW_BYTES_PER_SECOND });
      const ids = Array.from({ length: 4 }, () => bucket.newUpload());
      const since = performance.now();
      await Promise.all(ids.map((id) => store.append(id, 0, chunksOf([PARTS]), signal)));
      // All parts were on their way at once, so that none came sooner than that.
      assert.ok(performance.now() - since > PART_MILLISECONDS_MAX);
      const digest = digestOf('sha256', PARTS);
      const commits = await Promise.all(ids.map((id) => store.commit(id, digest, PARTS.byteLength)));
      assert.ok(commits.every((blob) => blob !== null));
    }));

  it('commit, the answer of the last step lost, is the blob all the same', () =>
    withFaults(async ({ bucket, proxy, store }) => {
      const id = bucket.newUpload();
      await store.append(id, 0, chunksOf([LARGE]), signal);
      await proxy.set(
        { kind: 'reset', direction: 'down', afterBytes: 0 },
        { method: 'POST', path: /uploadId=/, times: 1 },
      );
      const blob = await store.commit(id, digestOf('sha256', LARGE), LARGE.byteLength);
      assert.equal(proxy.met, 1);
      assert.ok(blob !== null);
      assert.ok((await blobBytes(store, blob.location, signal)).equals(LARGE));
    }));

  it('commit, an error in an answer of 200, is unavailable; the next one succeeds', () =>
    withFaults(async ({ bucket, proxy, store }) => {
      const id = bucket.newUpload();
      await store.append(id, 0, chunksOf([LARGE]), signal);
      const digest = digestOf('sha256', LARGE);
      await proxy.set(s3Error(200, 'InternalError'), { method: 'POST', path: /uploadId=/ });
      await inTime(store.commit(id, digest, LARGE.byteLength));
      await proxy.set({ kind: 'pass' });
      assert.ok((await store.commit(id, digest, LARGE.byteLength)) !== null);
    }));

  it('append, the answer to a whole object lost, writes it again', () =>
    withFaults(async ({ bucket, proxy, store }) => {
      const id = bucket.newUpload();
      await proxy.set({ kind: 'reset', direction: 'down', afterBytes: 0 }, { method: 'PUT', times: 1 });
      assert.equal(await store.append(id, 0, chunksOf(['whole']), signal), 5);
      assert.equal(proxy.met, 1);
      assert.equal((await stagedBytes(store, id, signal)).toString(), 'whole');
    }));

  it('append, a part that fails for good, keeps the parts before it', () =>
    withFaults(async ({ bucket, proxy, store }) => {
      const id = bucket.newUpload();
      await proxy.set(UNAVAILABLE, { path: /partNumber=2/ });
      const bytes = Buffer.concat([LARGE, LARGE]);
      const error = await inTime(store.append(id, 0, chunksOf([bytes]), signal));
      assert.equal(error.retryable, true);
      assert.equal((await store.staged(id))?.sizeBytes, PART_BYTES);
      await proxy.set({ kind: 'pass' });
      await store.append(id, PART_BYTES, chunksOf([bytes.subarray(PART_BYTES)]), signal);
      const blob = await store.commit(id, digestOf('sha256', bytes), bytes.byteLength);
      assert.ok(blob !== null && (await blobBytes(store, blob.location, signal)).equals(bytes));
    }));

  it('a service without conditional writes is written to without conditions', () =>
    withFaults(async ({ bucket, proxy, store }) => {
      const id = bucket.newUpload();
      await proxy.set(s3Error(501, 'NotImplemented'), { method: 'PUT', times: 1 });
      assert.equal(await store.append(id, 0, chunksOf(['whole']), signal), 5);
      assert.equal(await store.append(id, 5, chunksOf([' more']), signal), 10);
    }));

  it('failures that somebody has to mend, are told in words', () =>
    withFaults(async ({ bucket, proxy, store }) => {
      const words: readonly (readonly [() => Promise<unknown>, RegExp])[] = [
        [
          () => bucket.open({ bucket: 'no-such-bucket' }).probe(signal),
          /the bucket no-such-bucket does not exist/,
        ],
        [() => bucket.open({ bucket: 'no-such-bucket' }).list(null, 1), /the bucket does not exist/],
        [
          () => bucket.open({ endpoint: 'http://127.0.0.1:1' }).probe(signal),
          /nothing listens at the endpoint/,
        ],
        [
          () => bucket.open({ endpoint: 'http://no-such-host.invalid' }).probe(signal),
          /the name of the endpoint/,
        ],
        [
          () => bucket.open({}, { credentials: { accessKeyId: 'no', secretAccessKey: 'no' } }).list(null, 1),
          /access key is not known/,
        ],
        [
          () => bucket.open({}, { credentials: { secretAccessKey: 'no' } }).list(null, 1),
          /the secret key is wrong/,
        ],
      ];
      for (const [work, sentence] of words) assert.match((await inTime(work())).message, sentence);
      await proxy.set(s3Error(507, 'XMinioStorageFull'));
      const error = await inTime(store.append(bucket.newUpload(), 0, chunksOf(['x']), signal));
      assert.ok(error.full);
    }));
});

async function readAll(store: S3BlobStore, location: BlobLocation): Promise<void> {
  const body = await store.open(location, null, signal);
  assert.ok(body !== null);
  await drain(body);
}
