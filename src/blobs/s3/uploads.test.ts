import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startMinio } from '../../../test/harness/minio.ts';
import { digestOf } from '../../oci/digest.ts';
import type { BlobStore, UploadId } from '../blob-store.ts';
import { blobBytes, chunksOf, randomNumbers, sliced, stagedBytes } from '../contract-bytes.ts';
import { piecesOf } from './objects.ts';
import { type Bucket, openBucket, PART_BYTES } from './testing.ts';

const service = await startMinio();
after(() => service[Symbol.asyncDispose]());

const { signal } = new AbortController();
const WHOLE = randomBytes(4 * PART_BYTES + 4321);

async function withBucket(work: (bucket: Bucket) => Promise<void>): Promise<void> {
  const bucket = await openBucket(service);
  try {
    await work(bucket);
    assert.deepEqual(await bucket.leftovers(), []);
  } finally {
    await bucket.close();
  }
}

function append(store: BlobStore, id: UploadId, offset: number, bytes: Buffer): Promise<number> {
  return store.append(id, offset, chunksOf(sliced(bytes, 100_000)), signal);
}

async function commitWhole(store: BlobStore, id: UploadId, bytes: Buffer): Promise<void> {
  const blob = await store.commit(id, digestOf('sha256', bytes), bytes.byteLength);
  assert.ok(blob !== null);
  assert.ok((await blobBytes(store, blob.location, signal)).equals(bytes));
}

describe('uploads on S3', () => {
  it('append, any sizes of pieces around the size of a part, each by another store, holds them in order', () =>
    withBucket(async (bucket) => {
      for (let seed = 1; seed <= 3; seed++) {
        const below = randomNumbers(seed);
        const id = bucket.newUpload();
        let at = 0;
        while (at < WHOLE.byteLength) {
          const sizes = [1, 70_000, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES];
          const piece = WHOLE.subarray(
            at,
            at + (sizes[below(sizes.length)] ?? 1) + (seed === 1 ? 65_536 : 0),
          );
          at = await append(bucket.open(), id, at, piece);
          assert.equal((await bucket.open().staged(id))?.sizeBytes, at, `seed ${seed}`);
        }
        await commitWhole(bucket.open(), id, WHOLE);
      }
    }));

  it('append, at any offset before the end, agrees with a model', () =>
    withBucket(async (bucket) => {
      for (let seed = 1; seed <= 6; seed++) {
        const below = randomNumbers(seed);
        const id = bucket.newUpload();
        let model = Buffer.alloc(0);
        for (let step = 0; step < 5; step++) {
          const boundary = PART_BYTES * below(4);
          const offset = Math.min(model.byteLength, below(2) === 0 ? boundary : below(model.byteLength + 1));
          const bytes = randomBytes(below(2 * PART_BYTES));
          model = Buffer.concat([model.subarray(0, offset), bytes]);
          assert.equal(await append(bucket.open(), id, offset, bytes), model.byteLength, `seed ${seed}`);
          if (below(4) === 0) assert.ok((await stagedBytes(bucket.open(), id, signal)).equals(model));
        }
        assert.equal((await bucket.open().staged(id))?.sizeBytes, model.byteLength, `seed ${seed}`);
        const size = below(2) === 0 ? model.byteLength : below(model.byteLength + 1);
        await commitWhole(bucket.open(), id, model.subarray(0, size));
      }
    }));

  it('append, more parts than a multipart upload takes, joins them and goes on', () =>
    withBucket(async (bucket) => {
      const store = bucket.open({}, { partsMax: 3 });
      const id = bucket.newUpload();
      const long = Buffer.concat([WHOLE, WHOLE]);
      assert.equal(await append(store, id, 0, long), long.byteLength);
      await commitWhole(store, id, long);
    }));

  it('append, joined to more than the service copies at once, copies it in several parts', () =>
    withBucket(async (bucket) => {
      const store = bucket.open({}, { partsMax: 6, copyBytesMax: 2 * PART_BYTES + 1 });
      const id = bucket.newUpload();
      const long = Buffer.concat([WHOLE, WHOLE]);
      assert.equal(await append(store, id, 0, long), long.byteLength);
      await commitWhole(store, id, long);
    }));

  it('append and commit, parts smaller now than when the upload began, go on at any offset', () =>
    withBucket(async (bucket) => {
      const larger = bucket.open({ partBytes: 3 * PART_BYTES });
      const staged = WHOLE.subarray(0, -1);
      const tailAt = 3 * PART_BYTES;
      for (const offset of [
        tailAt,
        tailAt + 1,
        tailAt + PART_BYTES,
        tailAt + PART_BYTES + 1,
        staged.byteLength,
      ]) {
        const id = bucket.newUpload();
        await append(larger, id, 0, staged);
        await append(bucket.open(), id, offset, WHOLE.subarray(offset));
        await commitWhole(bucket.open(), id, WHOLE);
      }
      for (const size of [tailAt + 1, tailAt + PART_BYTES + 1, staged.byteLength]) {
        const id = bucket.newUpload();
        await append(larger, id, 0, staged);
        await commitWhole(bucket.open(), id, staged.subarray(0, size));
      }
    }));

  it('append, aborted in the middle of parts, keeps what came; another store goes on', () =>
    withBucket(async (bucket) => {
      const id = bucket.newUpload();
      const abort = new AbortController();
      const source = async function* () {
        yield* sliced(WHOLE.subarray(0, 3 * PART_BYTES - 7), 65_536);
        abort.abort(new Error('the client is gone'));
        await new Promise(() => undefined);
      };
      await assert.rejects(bucket.open().append(id, 0, source(), abort.signal), /the client is gone/);
      const other = bucket.open();
      assert.equal((await other.staged(id))?.sizeBytes, 3 * PART_BYTES - 7);
      await append(other, id, 3 * PART_BYTES - 7, WHOLE.subarray(3 * PART_BYTES - 7));
      await commitWhole(other, id, WHOLE);
    }));

  it('append at 0, over what an earlier beginning left in parts, begins anew', () =>
    withBucket(async (bucket) => {
      for (const bytes of [Buffer.from('small'), WHOLE.subarray(5)]) {
        const id = bucket.newUpload();
        await append(bucket.open(), id, 0, WHOLE);
        await append(bucket.open(), id, 0, bytes);
        assert.equal((await bucket.open().staged(id))?.sizeBytes, bytes.byteLength);
        await commitWhole(bucket.open(), id, bytes);
      }
    }));

  it('commit, twice and by two stores at once, is the same blob', () =>
    withBucket(async (bucket) => {
      const id = bucket.newUpload();
      await append(bucket.open(), id, 0, WHOLE);
      const digest = digestOf('sha256', WHOLE);
      const both = await Promise.all([1, 2].map(() => bucket.open().commit(id, digest, WHOLE.byteLength)));
      assert.ok(both.every((blob) => blob !== null));
      await commitWhole(bucket.open(), id, WHOLE);
    }));

  it('commit, the multipart upload aborted by somebody, is null; the upload may begin again', () =>
    withBucket(async (bucket) => {
      const store = bucket.open();
      const id = bucket.newUpload();
      await append(store, id, 0, WHOLE);
      await bucket.abortMultiparts();
      assert.equal(await store.commit(id, digestOf('sha256', WHOLE), WHOLE.byteLength), null);
      assert.equal(await store.staged(id), null);
      await append(store, id, 0, WHOLE);
      await commitWhole(store, id, WHOLE);
    }));

  it('append, the multipart upload aborted by somebody, is unavailable and forgets what is gone', () =>
    withBucket(async (bucket) => {
      const store = bucket.open();
      const id = bucket.newUpload();
      const at = await append(store, id, 0, WHOLE);
      await bucket.abortMultiparts();
      await assert.rejects(append(store, id, at, WHOLE), { name: 'Unavailable', retryable: true });
      assert.equal(await store.staged(id), null);
    }));

  it('listStaged and discard, uploads in parts, leave neither objects nor multipart uploads', () =>
    withBucket(async (bucket) => {
      const store = bucket.open();
      const ids = Array.from({ length: 3 }, () => bucket.newUpload());
      for (const id of ids) await append(store, id, 0, WHOLE.subarray(0, 2 * PART_BYTES + 1));
      const { entries } = await bucket.open().listStaged(null, 10);
      assert.deepEqual(
        entries.map(({ uploadId }) => uploadId),
        [...ids].sort(),
      );
      assert.ok(entries.every(({ sizeBytes }) => sizeBytes === 2 * PART_BYTES + 1));
      for (const id of ids) await store.discard(id);
    }));

  it('append, the process dead after it began a multipart upload, can be found and discarded', () =>
    withBucket(async (bucket) => {
      const store = bucket.open();
      const id = bucket.newUpload();
      await append(store, id, 0, Buffer.from('acknowledged'));
      // As `append` does before its first part.
      await store.staging.begin(id);
      assert.equal((await bucket.open().staged(id))?.sizeBytes, 12);
      assert.deepEqual(
        (await store.listStaged(null, 10)).entries.map(({ uploadId }) => uploadId),
        [id],
      );
      await append(bucket.open(), id, 12, WHOLE);
      await commitWhole(store, id, Buffer.concat([Buffer.from('acknowledged'), WHOLE]));
    }));

  it('append, an object left by an earlier beginning, is written over; one younger than it is left alone', () =>
    withBucket(async (bucket) => {
      const store = bucket.open();
      const id = bucket.newUpload();
      await append(store, id, 0, Buffer.from('left behind'));
      await append(bucket.open(), id, 0, Buffer.from('begun anew'));
      assert.equal((await stagedBytes(store, id, signal)).toString(), 'begun anew');
      const place = { over: null, since: Date.now() - 60_000 };
      const late = store.objects.putBlob(store.layout.blobKey(id), piecesOf(Buffer.from('late')), place);
      await assert.rejects(late, /another request went on/);
      assert.equal((await stagedBytes(store, id, signal)).toString(), 'begun anew');
    }));

  it('append, forty uploads at once in the memory of three parts, all end, within it', () =>
    withBucket(async (bucket) => {
      const bytesMax = 3 * PART_BYTES;
      const store = bucket.open({ uploadMemoryBytesMax: bytesMax });
      const bytes = WHOLE.subarray(0, PART_BYTES + 300_000);
      const ids = Array.from({ length: 40 }, () => bucket.newUpload());
      await Promise.all(ids.map((id) => append(store, id, 0, bytes)));
      assert.ok(store.memory.peakBytes <= bytesMax && store.memory.peakBytes > 2 * PART_BYTES);
      assert.equal(store.memory.heldBytes, 0);
      await Promise.all(ids.map((id) => store.withdraw(id)));
    }));

  it('append and commit, forty uploads that go on at once, read back what is staged within the same memory', () =>
    withBucket(async (bucket) => {
      const bytesMax = 3 * PART_BYTES;
      const bytes = WHOLE.subarray(0, 2 * PART_BYTES);
      const at = bytes.byteLength - 300_000;
      const ids = Array.from({ length: 40 }, () => bucket.newUpload());
      const roomy = bucket.open();
      for (const id of ids) await append(roomy, id, 0, bytes.subarray(0, at));
      const goOn = bucket.open({ uploadMemoryBytesMax: bytesMax });
      await Promise.all(ids.map((id) => append(goOn, id, at, bytes.subarray(at, -1))));
      const end = bucket.open({ uploadMemoryBytesMax: bytesMax });
      await Promise.all(ids.map((id) => end.commit(id, digestOf('sha256', bytes), bytes.byteLength - 1)));
      for (const { memory } of [goOn, end]) {
        assert.ok(memory.peakBytes <= bytesMax && memory.peakBytes > PART_BYTES, `${memory.peakBytes}`);
        assert.equal(memory.heldBytes, 0);
      }
      for (const id of ids) {
        const blob = await end.stat(end.locate(id, digestOf('sha256', bytes)));
        assert.equal(blob?.sizeBytes, bytes.byteLength - 1);
        await end.withdraw(id);
      }
    }));

  it('append, sources that stand still while others want their memory, give it back and go on when they come', () =>
    withBucket(async (bucket) => {
      const store = bucket.open({ uploadMemoryBytesMax: 2 * PART_BYTES });
      const gate = Promise.withResolvers<void>();
      const standing = async function* (bytes: Buffer, beforeBytes: number) {
        yield* sliced(bytes.subarray(0, beforeBytes), 65_536);
        await gate.promise;
        yield* sliced(bytes.subarray(beforeBytes), 65_536);
      };
      const stagedBytesAt = PART_BYTES + 4_000_000;
      const [small, large, goneOn, prompt] = Array.from({ length: 4 }, () => bucket.newUpload());
      assert.ok(small !== undefined && large !== undefined && goneOn !== undefined && prompt !== undefined);
      await append(store, goneOn, 0, WHOLE.subarray(0, stagedBytesAt));
      const late = [
        store.append(small, 0, standing(WHOLE, PART_BYTES - 100_000), signal),
        store.append(large, 0, standing(WHOLE, 2 * PART_BYTES - 100_000), signal),
        store.append(goneOn, stagedBytesAt, standing(WHOLE.subarray(stagedBytesAt), 1), signal),
      ];
      while (store.memory.heldBytes < 2 * PART_BYTES - 300_000) await sleep(10);
      await append(store, prompt, 0, WHOLE);
      gate.resolve();
      assert.deepEqual(await Promise.all(late), [WHOLE.byteLength, WHOLE.byteLength, WHOLE.byteLength]);
      assert.equal(store.memory.heldBytes, 0);
      for (const id of [small, large, goneOn, prompt]) await commitWhole(bucket.open(), id, WHOLE);
    }));

  it('append, one upload, holds no more than the parts on their way, the one that fills and what it began with', () =>
    withBucket(async (bucket) => {
      const store = bucket.open({ uploadConcurrency: 2 });
      const id = bucket.newUpload();
      await append(store, id, 0, Buffer.concat([WHOLE, WHOLE]));
      assert.ok(store.memory.peakBytes <= 3 * PART_BYTES, `${store.memory.peakBytes}`);
      await store.withdraw(id);
    }));
});
