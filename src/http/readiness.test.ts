import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { openMemoryBlobStore } from '../blobs/memory/memory-blob-store.ts';
import { openTemporaryMetaStore } from '../meta/sqlite/temporary-meta-store.ts';
import { Unavailable } from '../std/unavailable.ts';
import { createReadiness } from './readiness.ts';

const log = pino({ level: 'silent' });
const isDraining = async () => false;

test('createReadiness, everything in order, is ready and looks at most once a second', async () => {
  const meta = await openTemporaryMetaStore();
  const blobs = await openMemoryBlobStore({ bytesMax: 1024 });
  let probes = 0;
  let now = 1000;
  const counted = {
    space: blobs.space,
    probe: async (signal: AbortSignal) => {
      probes += 1;
      await blobs.probe(signal);
    },
  };
  const readiness = createReadiness({
    blobs: counted,
    meta,
    reserveBytes: 0,
    isDraining,
    clock: { now: () => now },
    log,
  });
  const looks = await Promise.all([readiness(), readiness(), readiness()]);
  assert.deepEqual(
    looks.map(({ ok }) => ok),
    [true, true, true],
  );
  assert.equal(probes, 1);
  now += 1000;
  await readiness();
  assert.equal(probes, 2);
  await meta.close();
  await blobs.close();
});

test('createReadiness, a failing store and a full device, name the parts without what the store said', async () => {
  const full = async () => ({ freeBytes: 5, totalBytes: 100 });
  const probe = async () => {
    throw new Unavailable('blob store', 'EROFS: /var/lib/secret', { retryable: false });
  };
  const meta = { probe: async () => {} };
  const clock = { now: () => 0 };
  const { ok, parts } = await createReadiness({
    blobs: { probe, space: full },
    meta,
    reserveBytes: 10,
    isDraining,
    clock,
    log,
  })();
  assert.equal(ok, false);
  assert.deepEqual(
    parts.filter((part) => !part.ok).map(({ name }) => name),
    ['blob store', 'free space'],
  );
  assert.doesNotMatch(JSON.stringify(parts), /secret/);
});
