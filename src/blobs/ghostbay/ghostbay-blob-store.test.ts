import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Fate, type GhostbayDouble, startGhostbay } from '../../../test/harness/ghostbay.ts';
import { bucketOn, GHOSTBAY_BUCKET, strayKeys } from '../../../test/harness/ghostbay-bucket.ts';
import { digestOf } from '../../oci/digest.ts';
import { Unavailable } from '../../std/unavailable.ts';
import type { BlobStore } from '../blob-store.ts';
import { blobBytes, chunksOf, drain, randomNumbers, sliced, stagedBytes } from '../contract-bytes.ts';
import { newUploadId } from '../upload-id.ts';
import { type GhostbayOptions, openGhostbayBlobStore } from './ghostbay-blob-store.ts';
import { slotKey } from './layout.ts';

const KIB = 1024;
const { signal } = new AbortController();

interface World {
  readonly double: GhostbayDouble;
  readonly options: GhostbayOptions;
  readonly store: BlobStore;
}

/** Segments of 64 bytes, unless told. */
async function open(t: TestContext, changes: Partial<GhostbayOptions> = {}): Promise<World> {
  const double = await startGhostbay();
  const options = { ...(await bucketOn(double)), segmentBytes: 64, ...changes };
  const store = await openGhostbayBlobStore(options);
  t.after(async () => {
    await store.close();
    await double.stop();
  });
  return { double, options, store };
}

/** As if the process ended at its request number `step` from now on: none later is ever answered. */
function dieAt(double: GhostbayDouble, step: number, fate: Fate): () => number {
  let asked = 0;
  double.decide(() => {
    asked += 1;
    return asked < step ? 'serve' : asked === step ? fate : 'hang-before';
  });
  return () => asked;
}

/** Runs the work of a process that dies at each of its requests in turn; `after` looks at what it left. */
async function dyingAtEachStep(
  t: TestContext,
  prepare: (world: World) => Promise<(store: BlobStore) => Promise<unknown>>,
  after: (world: World, store: BlobStore) => Promise<void>,
): Promise<void> {
  for (const fate of ['hang-before', 'hang-after'] as const) {
    for (let step = 1; ; step++) {
      const world = await open(t);
      const work = await prepare(world);
      const asked = dieAt(world.double, step, fate);
      const dead = work(world.store).then(
        () => true,
        () => false,
      );
      const isOver = await Promise.race([dead, untilAsked(asked, { step, isOver: dead })]);
      world.double.decide(() => 'serve');
      await after(world, await openGhostbayBlobStore(world.options));
      if (isOver) break;
    }
  }
}

async function untilAsked(
  asked: () => number,
  until: { readonly step: number; readonly isOver: Promise<unknown> },
): Promise<boolean> {
  let isOver = false;
  void until.isOver.then(() => (isOver = true));
  while (asked() < until.step && !isOver) await sleep(1);
  // The request was read; give what is done for it the time to be done.
  await sleep(5);
  return isOver;
}

describe('ghostbay: segments', () => {
  it('append, any series of offsets and pieces over many segments, agrees with a model', async (t) => {
    const { store, double } = await open(t);
    for (let seed = 1; seed <= 15; seed++) {
      const below = randomNumbers(seed);
      const id = newUploadId();
      let model = Buffer.alloc(0);
      for (let step = below(6); step >= 0; step--) {
        const offset = below(4) === 0 ? below(model.byteLength + 1) : model.byteLength;
        const pieces = Array.from({ length: below(6) }, () => Buffer.alloc(below(150), below(256)));
        model = Buffer.concat([model.subarray(0, offset), ...pieces]);
        const size = await store.append(id, offset, chunksOf(pieces), signal);
        assert.equal(size, model.byteLength, `seed ${seed}`);
        assert.ok((await stagedBytes(store, id, signal)).equals(model), `seed ${seed}`);
      }
      const keptBytes = below(model.byteLength + 1);
      const kept = model.subarray(0, keptBytes);
      const blob = await store.commit(id, digestOf('sha256', kept), keptBytes);
      assert.ok(blob !== null);
      assert.ok((await blobBytes(store, blob.location, signal)).equals(kept), `seed ${seed}`);
      assert.deepEqual(await strayKeys(double), [], `seed ${seed}`);
      await store.delete(blob.location);
      assert.deepEqual(double.keys(GHOSTBAY_BUCKET), [], `seed ${seed}`);
    }
    assert.deepEqual(
      double.requests.filter(({ status }) => status === 500),
      [],
      'a key was put twice',
    );
  });

  it('requests, of everything that a store does, ask for nothing that GhostBay cannot do', async (t) => {
    const { store, double } = await open(t);
    const bytes = randomBytes(1000);
    const id = newUploadId();
    await store.append(id, 0, chunksOf(sliced(bytes, 100)), signal);
    const blob = await store.commit(id, digestOf('sha256', bytes), 1000);
    assert.ok(blob !== null);
    for (const range of [{ start: 200, end: 300 }, null]) {
      const body = await store.open(blob.location, range, signal);
      assert.ok(body !== null);
      const wanted = range === null ? bytes : bytes.subarray(range.start, range.end + 1);
      assert.ok((await drain(body)).equals(wanted));
    }
    const own = double.requests.filter(({ headers }) => headers.authorization !== undefined);
    assert.ok(own.length > 20);
    for (const { method, headers, bucket } of own) {
      assert.equal(bucket, GHOSTBAY_BUCKET);
      assert.equal(headers.range, undefined);
      assert.equal(headers['accept-encoding'], 'identity');
      assert.equal(headers['transfer-encoding'], undefined);
      if (method === 'PUT') assert.match(headers['content-length'] ?? '', /^\d+$/);
    }
  });

  it('open, a range, asks for no other segment than those that hold it', async (t) => {
    const { store, double } = await open(t, { segmentBytes: 100 * KIB });
    const bytes = randomBytes(1000 * KIB);
    const id = newUploadId();
    await store.append(id, 0, chunksOf(sliced(bytes, 100 * KIB)), signal);
    const blob = await store.commit(id, digestOf('sha256', bytes), bytes.byteLength);
    assert.ok(blob !== null);
    const before = double.requests.length;
    const body = await store.open(blob.location, { start: 350 * KIB, end: 420 * KIB }, signal);
    assert.ok(body !== null);
    assert.ok((await drain(body)).equals(bytes.subarray(350 * KIB, 420 * KIB + 1)));
    const asked = double.requests.slice(before).map(({ key }) => key.replace(/^(\w+).*-(\d+)$/, '$1 $2'));
    assert.deepEqual(asked.slice(1), ['segments 3', 'segments 4']);
  });

  it('append, many at once with little memory, all go on and give all of it back', async (t) => {
    const { store, double } = await open(t, { segmentBytes: 256 * KIB, uploadMemoryBytesMax: 512 * KIB });
    const uploads = Array.from({ length: 12 }, () => ({ id: newUploadId(), bytes: randomBytes(700 * KIB) }));
    await Promise.all(
      uploads.map(({ id, bytes }) => store.append(id, 0, chunksOf(sliced(bytes, 32 * KIB)), signal)),
    );
    for (const { id, bytes } of uploads) {
      assert.ok((await stagedBytes(store, id, signal)).equals(bytes));
      await store.discard(id);
    }
    assert.ok(double.bodyBytesMax() <= (256 + 32) * KIB + 1000, `a body had ${double.bodyBytesMax()} bytes`);
    assert.deepEqual(double.keys(GHOSTBAY_BUCKET), []);
  });

  it('append, sources that stand still while others want their memory, send what they have and go on', async (t) => {
    const { store } = await open(t, { segmentBytes: 256 * KIB, uploadMemoryBytesMax: 512 * KIB });
    const bytes = randomBytes(700 * KIB);
    const gate = Promise.withResolvers<void>();
    const standing = async function* () {
      yield bytes.subarray(0, 250 * KIB);
      await gate.promise;
      yield bytes.subarray(250 * KIB);
    };
    const ids = Array.from({ length: 2 }, newUploadId);
    const late = ids.map((id) => store.append(id, 0, standing(), signal));
    const prompt = newUploadId();
    await sleep(100);
    await store.append(prompt, 0, chunksOf(sliced(bytes, 32 * KIB)), signal);
    gate.resolve();
    await Promise.all(late);
    for (const id of [...ids, prompt]) assert.ok((await stagedBytes(store, id, signal)).equals(bytes));
  });

  it('append, its lease lost at any of its requests, asks for nothing more', async (t) => {
    for (let step = 1; ; step++) {
      const { store, double } = await open(t);
      const id = newUploadId();
      await store.append(id, 0, chunksOf(sliced(randomBytes(150), 50)), signal);
      const lost = new AbortController();
      const reason = new Error('another request has taken over');
      let asked = 0;
      double.decide(() => {
        asked += 1;
        if (asked === step) lost.abort(reason);
        return 'serve';
      });
      const work = store.append(id, 100, chunksOf(sliced(randomBytes(150), 50)), signal, lost.signal);
      const isRejected = await work.then(
        () => false,
        (error) => error === reason,
      );
      if (asked < step) return;
      // What is asked side by side at that moment has gone out.
      assert.ok(asked <= step + 1, `${asked - step} requests after request ${step}`);
      // Its last request may have been answered before it heard of the loss.
      assert.ok(isRejected || asked === step, `request ${step}`);
    }
  });

  it('commit, again under the id of a blob that stands, replaces it and leaves nothing of it', async (t) => {
    const { store, double } = await open(t);
    const id = newUploadId();
    for (const bytes of [randomBytes(500), randomBytes(300), Buffer.alloc(0)]) {
      await store.append(id, 0, chunksOf(sliced(bytes, 50)), signal);
      const blob = await store.commit(id, digestOf('sha256', bytes), bytes.byteLength);
      assert.ok(blob !== null);
      assert.ok((await blobBytes(store, blob.location, signal)).equals(bytes));
      assert.deepEqual(await strayKeys(double), []);
    }
  });
});

describe('ghostbay: a process that dies', () => {
  const first = randomBytes(150);
  const second = randomBytes(150);

  it('append, cut short at each request, leaves what was told before; the upload goes on', async (t) => {
    const id = newUploadId();
    await dyingAtEachStep(
      t,
      async ({ store }) => {
        await store.append(id, 0, chunksOf(sliced(first, 70)), signal);
        return (dying) => dying.append(id, 100, chunksOf(sliced(second, 70)), signal);
      },
      async ({ double }, store) => {
        const whole = Buffer.concat([first.subarray(0, 100), second]);
        const staged = await stagedBytes(store, id, signal);
        assert.ok(staged.equals(first) || staged.equals(whole), `${staged.byteLength} bytes are staged`);
        await store.append(id, 100, chunksOf(sliced(second, 70)), signal);
        const blob = await store.commit(id, digestOf('sha256', whole), whole.byteLength);
        assert.ok(blob !== null);
        assert.ok((await blobBytes(store, blob.location, signal)).equals(whole));
        assert.deepEqual(await strayKeys(double), []);
      },
    );
  });

  it('commit, cut short at each request, can be repeated; a sweep keeps the blob', async (t) => {
    const id = newUploadId();
    for (const isRepeated of [true, false]) {
      await dyingAtEachStep(
        t,
        async ({ store }) => {
          await store.append(id, 0, chunksOf(sliced(first, 70)), signal);
          return (dying) => dying.commit(id, digestOf('sha256', first), first.byteLength);
        },
        async ({ double }, store) => {
          const location = store.locate(id, digestOf('sha256', first));
          const isCommitted = (await store.stat(location)) !== null;
          if (isRepeated && (await store.staged(id)) !== null) {
            assert.ok((await store.commit(id, digestOf('sha256', first), first.byteLength)) !== null);
          } else await store.discard(id);
          if (isCommitted || isRepeated) {
            assert.ok((await blobBytes(store, location, signal)).equals(first));
          }
          assert.deepEqual(await strayKeys(double), []);
        },
      );
    }
  });

  it('discard, withdraw and delete, cut short at each request, can be repeated', async (t) => {
    const id = newUploadId();
    const removals: Record<string, (store: BlobStore) => Promise<void>> = {
      discard: (store) => store.discard(id),
      withdraw: (store) => store.withdraw(id),
      delete: (store) => store.delete(store.locate(id, digestOf('sha256', first))),
    };
    for (const [name, remove] of Object.entries(removals)) {
      await dyingAtEachStep(
        t,
        async ({ store }) => {
          await store.append(id, 0, chunksOf(sliced(first, 70)), signal);
          if (name !== 'discard') await store.commit(id, digestOf('sha256', first), first.byteLength);
          return remove;
        },
        async ({ double }, store) => {
          await remove(store);
          assert.deepEqual(double.keys(GHOSTBAY_BUCKET), [], name);
        },
      );
    }
  });
});

describe('ghostbay: failures', () => {
  it('a request, refused or cut once at each step, is made again', async (t) => {
    const bytes = randomBytes(300);
    for (const fate of ['fail', 'cut-before', 'cut-after'] as const) {
      const { store, double } = await open(t);
      let asked = 0;
      // Every fourth one: attempts of one request are three.
      double.decide(() => (++asked % 4 === 0 ? fate : 'serve'));
      const id = newUploadId();
      await store.append(id, 0, chunksOf(sliced(bytes, 70)), signal);
      const blob = await store.commit(id, digestOf('sha256', bytes), bytes.byteLength);
      double.decide(() => 'serve');
      assert.ok(blob !== null);
      assert.ok((await blobBytes(store, blob.location, signal)).equals(bytes), fate);
      await store.discard(id);
      assert.deepEqual(await strayKeys(double), [], fate);
    }
  });

  it('a body, cut in its middle, ends by an error and not as if it were complete', async (t) => {
    const { store, double } = await open(t, { segmentBytes: 300 * KIB });
    const bytes = randomBytes(300 * KIB);
    const id = newUploadId();
    await store.append(id, 0, chunksOf([bytes]), signal);
    const blob = await store.commit(id, digestOf('sha256', bytes), bytes.byteLength);
    assert.ok(blob !== null);
    const body = await store.open(blob.location, null, signal);
    assert.ok(body !== null);
    double.decide(() => 'cut-body');
    await assert.rejects(drain(body), isRetryable);
    await body.close();
  });

  it('a store, its server away, is unavailable, and goes on when it is back', async (t) => {
    const { store, double } = await open(t);
    const id = newUploadId();
    double.decide(() => 'cut-before');
    await assert.rejects(store.append(id, 0, chunksOf(['abc']), signal), isRetryable);
    await assert.rejects(store.staged(id), isRetryable);
    await assert.rejects(store.probe(signal), isRetryable);
    double.decide(() => 'serve');
    assert.equal(await store.append(id, 0, chunksOf(['abc']), signal), 3);
  });

  it('openGhostbayBlobStore, no such bucket or no server there, is a sentence', async (t) => {
    const { options, double } = await open(t);
    const missing = openGhostbayBlobStore({ ...options, bucket: 'missing' });
    await assert.rejects(missing, /there is no bucket "missing" at http.*ghostbay bucket create/);
    await double.stop();
    await assert.rejects(openGhostbayBlobStore(options), /cannot be reached/);
  });

  it('slots that hold no head, listed and discarded, are gone', async (t) => {
    const { store, double, options } = await open(t);
    const id = newUploadId();
    await fetch(`${options.endpoint}/${GHOSTBAY_BUCKET}/${slotKey(id, 'b')}`, {
      method: 'PUT',
      body: 'torn',
    });
    assert.equal(await store.staged(id), null);
    assert.deepEqual((await store.listStaged(null, 10)).entries, [
      { uploadId: id, sizeBytes: 0, modifiedAt: 0 },
    ]);
    assert.equal(await store.append(id, 0, chunksOf(['abc']), signal), 3);
    assert.equal(await store.append(id, 3, chunksOf(['def']), signal), 6);
    assert.equal((await stagedBytes(store, id, signal)).toString(), 'abcdef');
    await store.discard(id);
    assert.deepEqual(double.keys(GHOSTBAY_BUCKET), []);
  });
});

describe('ghostbay: listing', () => {
  it('listStaged, more keys than GhostBay tells, by pages, names every one once', async (t) => {
    const { store, options } = await open(t);
    // Bytes that are no head are told of, too. Most of them begin alike, so that digit after digit is needed.
    const ids = Array.from({ length: 1500 }, (_, index) =>
      index % 10 === 0 ? newUploadId() : (`abcd${newUploadId().slice(4)}` as ReturnType<typeof newUploadId>),
    );
    for (let start = 0; start < ids.length; start += 50) {
      const some = ids.slice(start, start + 50);
      await Promise.all(
        some.map((id) =>
          fetch(`${options.endpoint}/${GHOSTBAY_BUCKET}/${slotKey(id, 'a')}`, { method: 'PUT', body: 'x' }),
        ),
      );
    }
    const found: string[] = [];
    let cursor: string | null = null;
    do {
      const page: Awaited<ReturnType<BlobStore['listStaged']>> = await store.listStaged(cursor, 700);
      found.push(...page.entries.map(({ uploadId }) => uploadId));
      cursor = page.cursor;
    } while (cursor !== null);
    assert.deepEqual(found, [...ids].sort());
  });
});

function isRetryable(error: unknown): boolean {
  return error instanceof Unavailable && error.retryable;
}
