import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openBlobStore } from './open-blob-store.ts';

const TIERED = {
  mode: 'write-through',
  cold: 'fs',
  hotBytesMax: 1024 * 1024,
  hotAgeSecondsMax: 60,
  backlogBytesMax: 1024 * 1024,
  sendsMax: 1,
} as const;

test('openBlobStore, each configured backend, opens its driver and measures it', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'drift-blobs-'));
  t.after(() => rm(root, { recursive: true }));
  for (const backend of ['fs', 'memory', 'tiered'] as const) {
    const samples: string[] = [];
    const metrics = {
      storeOperation: (driver: string, operation: string, outcome: string) =>
        void samples.push(`${driver} ${operation} ${outcome}`),
      tier: () => {},
      tierBacklog: () => {},
      tierCopies: () => {},
    };
    const storage = {
      migrateFrom: 'none' as const,
      backend,
      root,
      reserveBytes: 0,
      redirect: { mode: 'auto', bytesMin: 1, seconds: 1 } as const,
      s3: null,
      ghostbay: null,
      tiered: { ...TIERED, hotRoot: join(root, 'hot') },
    };
    const store = await openBlobStore({ metrics }, { storage, secrets: { s3: null, ghostbay: null } });
    assert.equal(store.driver, backend);
    await store.probe(new AbortController().signal);
    // Of tiers both are measured.
    assert.deepEqual(samples, [...(backend === 'tiered' ? ['fs probe ok'] : []), `${backend} probe ok`]);
    await store.close();
  }
});
