/** What another request, or the line, does to an upload while it is read back. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFaultProxy } from '../../../test/harness/fault-proxy.ts';
import { startMinio } from '../../../test/harness/minio.ts';
import { digestOf } from '../../oci/digest.ts';
import type { UploadId } from '../blob-store.ts';
import { blobBytes, chunksOf, stagedBytes } from '../contract-bytes.ts';
import type { S3BlobStore } from './s3-blob-store.ts';
import { type Bucket, openBucket, PART_BYTES } from './testing.ts';

const service = await startMinio();
after(() => service[Symbol.asyncDispose]());

const { signal } = new AbortController();
const WHOLE = randomBytes(2 * PART_BYTES + 3_000_000);
const BLOCK = 256 * 1024;

async function withBucket(work: (bucket: Bucket) => Promise<void>): Promise<void> {
  const bucket = await openBucket(service);
  try {
    await work(bucket);
  } finally {
    await bucket.close();
  }
}

function append(store: S3BlobStore, id: UploadId, offset: number, bytes: Buffer): Promise<number> {
  return store.append(id, offset, chunksOf([bytes]), signal);
}

/** The store, to which something happens after it has read the head of a state. */
function interrupted(store: S3BlobStore, happens: () => Promise<unknown>): S3BlobStore {
  const { staging } = store;
  const readState = staging.readState.bind(staging);
  staging.readState = async (id) => {
    const state = await readState(id);
    staging.readState = readState;
    await happens();
    return state;
  };
  return store;
}

/** The next request of this kind waits until it is let go. */
function holdAt(
  store: S3BlobStore,
  command: string,
): { readonly isAsked: Promise<void>; readonly letGo: () => void } {
  const { client } = store.objects.service;
  const send = client.send.bind(client) as (...args: readonly unknown[]) => Promise<unknown>;
  const asked = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const holding = async (...args: readonly unknown[]): Promise<unknown> => {
    if ((args[0] as object).constructor.name !== command) return await send(...args);
    client.send = send as typeof client.send;
    asked.resolve();
    await gate.promise;
    return await send(...args);
  };
  client.send = holding as typeof client.send;
  return { isAsked: asked.promise, letGo: gate.resolve };
}

describe('uploads on S3 that are read back', () => {
  it('readState, heads of any length before tails of any bytes, is what was written', () =>
    withBucket(async (bucket) => {
      const store = bucket.open();
      for (const count of [0, 1, 1_330, 1_337, 1_340, 10_000]) {
        for (const tail of [Buffer.alloc(0), Buffer.from('\n{"version":1}\n'), randomBytes(PART_BYTES)]) {
          const id = bucket.newUpload();
          const parts = Array.from({ length: count }, (_, index) => ({
            sizeBytes: PART_BYTES,
            etag: `"${String(index).padStart(32, '0')}"`,
          }));
          const body = { pieces: [tail], sizeBytes: tail.byteLength };
          await store.staging.writeState(id, { multipartId: 'm', parts }, body);
          const state = await store.staging.readState(id);
          assert.deepEqual(state?.parts, parts);
          assert.equal(state?.tailBytes, tail.byteLength);
          const filling = store.memory.filling();
          const staged = count * PART_BYTES + tail.byteLength;
          if (count < 9_998 && staged > 0) {
            await store.staging.baseAt(id, staged, filling);
            assert.ok(Buffer.concat(filling.body.pieces).equals(tail), `${count} parts`);
          }
          filling.clear();
        }
      }
    }));

  it('baseAt, an answer that breaks off in the middle of the tail, has the right bytes or fails', () =>
    withBucket(async (bucket) => {
      const port = Number(new URL(service.endpoint).port);
      await using line = await startFaultProxy({ targetPort: port, protocol: 'http' });
      const store = bucket.open({ endpoint: line.through(service.endpoint) });
      const bytes = WHOLE.subarray(0, 2 * PART_BYTES - 5);
      const id = bucket.newUpload();
      await append(bucket.open(), id, 0, bytes);
      const state = await store.staging.readState(id);
      for (const afterBytes of [1, BLOCK, 300_000, PART_BYTES - 6]) {
        for (const kind of ['reset', 'truncate'] as const) {
          const filling = store.memory.filling();
          store.staging.readState = async () => state;
          const fault =
            kind === 'reset' ? ({ kind, direction: 'down', afterBytes } as const) : { kind, afterBytes };
          await line.set(fault, { method: 'GET', path: /staged/, times: 2 });
          await store.staging.baseAt(id, bytes.byteLength, filling);
          assert.equal(line.met, 2);
          assert.ok(
            Buffer.concat(filling.body.pieces).equals(bytes.subarray(PART_BYTES)),
            `${kind} ${afterBytes}`,
          );
          filling.clear();
          assert.equal(store.memory.heldBytes, 0);
        }
      }
    }));

  it('commit, append and readStaged, the state another one after its head was read, never take wrong bytes', () =>
    withBucket(async (bucket) => {
      const end = WHOLE.byteLength;
      const changes: Readonly<Record<string, (id: UploadId) => Promise<unknown>>> = {
        'no tail': (id) => append(bucket.open(), id, 2 * PART_BYTES, Buffer.alloc(0)),
        'a shorter tail': (id) => append(bucket.open(), id, 2 * PART_BYTES + 1_000_000, Buffer.alloc(0)),
        'a longer tail': (id) => append(bucket.open(), id, end, Buffer.from('abc')),
        'other bytes of the same length': (id) => append(bucket.open(), id, end - 5, Buffer.from('other')),
        'begun anew': (id) => append(bucket.open(), id, 0, WHOLE.subarray(1)),
        withdrawn: (id) => bucket.open().withdraw(id),
      };
      const acts: Readonly<Record<string, (store: S3BlobStore, id: UploadId) => Promise<unknown>>> = {
        commit: (store, id) => store.commit(id, digestOf('sha256', WHOLE), end),
        append: (store, id) => append(store, id, end, Buffer.from('more')),
        readStaged: (store, id) => stagedBytes(store, id, signal),
      };
      for (const [change, happens] of Object.entries(changes)) {
        for (const [name, act] of Object.entries(acts)) {
          const id = bucket.newUpload();
          await append(bucket.open(), id, 0, WHOLE);
          const store = interrupted(bucket.open(), () => happens(id));
          // Nobody is there any more whose blob it could be: nothing was committed.
          if (name === 'commit' && change === 'withdrawn') assert.equal(await act(store, id), null);
          else
            await assert.rejects(
              act(store, id),
              { name: 'Unavailable', retryable: true },
              `${name}: ${change}`,
            );
          assert.equal(store.memory.heldBytes, 0);
          await bucket.open().withdraw(id);
        }
      }
    }));

  it('append, held up for memory while its lease is lost and another request commits, leaves the blob alone', () =>
    withBucket(async (bucket) => {
      const bytes = Buffer.from('acknowledged');
      const id = bucket.newUpload();
      await append(bucket.open(), id, 0, bytes);
      const store = bucket.open({ uploadMemoryBytesMax: 2 * PART_BYTES });
      const filling = store.memory.filling();
      await filling.reserve(PART_BYTES, { isEnough: true });
      const more = store.memory.filling();
      await more.reserve(PART_BYTES, { isEnough: true });
      const lost = new AbortController();
      const late = store.append(id, bytes.byteLength, chunksOf(['late']), signal, lost.signal);
      const outcome = assert.rejects(late, /taken over/);
      while (!store.memory.isWanted) await sleep(10);
      lost.abort(new Error('another request has taken over'));
      const other = bucket.open();
      const blob = await other.commit(id, digestOf('sha256', bytes), bytes.byteLength);
      await outcome;
      filling.clear();
      more.clear();
      assert.ok(blob !== null && (await blobBytes(other, blob.location, signal)).equals(bytes));
      assert.equal(store.memory.heldBytes, 0);
    }));

  it('append, held up at any of its writes while its lease is lost, leaves what others wrote meanwhile', () =>
    withBucket(async (bucket) => {
      const end = WHOLE.byteLength;
      const joined = async (store: S3BlobStore, id: UploadId) => {
        await append(store, id, 0, WHOLE);
        assert.ok((await stagedBytes(store, id, signal)).equals(WHOLE));
      };
      const inParts = (store: S3BlobStore, id: UploadId) => append(store, id, 0, WHOLE);
      const small = (store: S3BlobStore, id: UploadId) => append(store, id, 0, WHOLE.subarray(0, 1000));
      const cases = [
        { command: 'PutObjectCommand', prepare: small, offset: 600, bytes: 1000 },
        { command: 'CreateMultipartUploadCommand', prepare: joined, offset: PART_BYTES + 1, bytes: end },
        { command: 'UploadPartCopyCommand', prepare: joined, offset: PART_BYTES + 1, bytes: end },
        // It has cut the upload when it comes to that.
        { command: 'DeleteObjectCommand', prepare: joined, offset: PART_BYTES + 1, bytes: PART_BYTES + 1 },
        { command: 'DeleteObjectCommand', prepare: small, offset: 0, bytes: 1000 },
        { command: 'PutObjectCommand', prepare: inParts, offset: PART_BYTES, bytes: end },
        { command: 'AbortMultipartUploadCommand', prepare: inParts, offset: 0, bytes: end },
        { command: 'UploadPartCommand', prepare: inParts, offset: end, bytes: end },
      ];
      for (const { command, prepare, offset, bytes } of cases) {
        const id = bucket.newUpload();
        await prepare(bucket.open(), id);
        const store = bucket.open();
        const held = holdAt(store, command);
        const lost = new AbortController();
        const late = store.append(id, offset, chunksOf([randomBytes(2 * PART_BYTES)]), signal, lost.signal);
        const outcome = assert.rejects(late, /taken over/);
        await held.isAsked;
        lost.abort(new Error('another request has taken over'));
        const kept = WHOLE.subarray(0, bytes);
        const blob = await bucket.open().commit(id, digestOf('sha256', kept), bytes);
        held.letGo();
        await outcome;
        const what = `${command} at ${offset}`;
        assert.ok(blob !== null, what);
        assert.ok((await blobBytes(bucket.open(), blob.location, signal)).equals(kept), what);
        assert.equal(store.memory.heldBytes, 0, what);
      }
    }));

  it('append at 0, held up while another request begins anew and commits, leaves the blob alone', () =>
    withBucket(async (bucket) => {
      const store = bucket.open({ uploadMemoryBytesMax: 2 * PART_BYTES });
      const id = bucket.newUpload();
      const gate = Promise.withResolvers<void>();
      const source = async function* () {
        yield WHOLE.subarray(0, PART_BYTES - 2 * BLOCK);
        await gate.promise;
        yield WHOLE;
      };
      const late = store.append(id, 0, source(), signal);
      const lateOutcome = assert.rejects(late, { name: 'Unavailable', retryable: true });
      while (store.memory.heldBytes < PART_BYTES - 2 * BLOCK) await sleep(10);
      const rest = store.memory.bytesMax - store.memory.heldBytes;
      const others = [rest - PART_BYTES, PART_BYTES].map((bytes) => ({
        bytes,
        filling: store.memory.filling(),
      }));
      for (const { bytes, filling } of others) await filling.reserve(bytes, { isEnough: true });
      gate.resolve();
      while (!store.memory.isWanted) await sleep(10);
      const other = bucket.open();
      const bytes = Buffer.from('what was acknowledged');
      // Longer than a lease, and than clocks may differ.
      await sleep(6_500);
      await append(other, id, 0, bytes);
      const blob = await other.commit(id, digestOf('sha256', bytes), bytes.byteLength);
      for (const { filling } of others) filling.clear();
      await lateOutcome;
      assert.ok(blob !== null && (await blobBytes(other, blob.location, signal)).equals(bytes));
      assert.equal(store.memory.heldBytes, 0);
    }));
});
