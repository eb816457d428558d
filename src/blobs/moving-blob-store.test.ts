import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runBlobStoreContract } from './contract.ts';
import { allPages, blobBytes, chunksOf, put } from './contract-bytes.ts';
import { openFsBlobStore } from './fs/fs-blob-store.ts';
import { openMemoryBlobStore } from './memory/memory-blob-store.ts';
import { MovingBlobStore } from './moving-blob-store.ts';
import { newUploadId } from './upload-id.ts';

const BYTES_MAX = 64 * 1024 * 1024;

for (const way of ['fs to memory', 'memory to fs'] as const) {
  runBlobStoreContract({
    name: `moving, ${way}`,
    open: async () => {
      const root = await mkdtemp(join(tmpdir(), 'drift-moving-'));
      const stores = [
        await openFsBlobStore({ root }),
        await openMemoryBlobStore({ bytesMax: BYTES_MAX }),
      ] as const;
      const [source, target] = way === 'fs to memory' ? stores : ([stores[1], stores[0]] as const);
      const store = new MovingBlobStore(source, target);
      return {
        store,
        async dispose() {
          await store.close();
          await rm(root, { recursive: true });
        },
      };
    },
  });
}

test('moving, blobs and uploads of both stores, are found where they are', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'drift-moving-'));
  t.after(() => rm(root, { recursive: true }));
  const { signal } = new AbortController();
  const [source, target] = [
    await openFsBlobStore({ root }),
    await openMemoryBlobStore({ bytesMax: BYTES_MAX }),
  ];
  const old = await put(source, Buffer.from('old'), signal);
  const upload = newUploadId();
  await source.append(upload, 0, chunksOf(['half']), signal);
  const store = new MovingBlobStore(source, target);
  const fresh = await put(store, Buffer.from('fresh'), signal);
  assert.equal((await blobBytes(store, old.location, signal)).toString(), 'old');
  assert.equal((await blobBytes(target, fresh.location, signal)).toString(), 'fresh');
  assert.equal((await store.stat(old.location))?.sizeBytes, 3);
  for (const limit of [1, 2, 9]) {
    const found = (await allPages((cursor) => store.list(cursor, limit))).flat();
    assert.deepEqual(found.map(({ location }) => location).sort(), [fresh.location, old.location].sort());
  }
  assert.equal(await store.staged(upload), null);
  assert.deepEqual(
    (await store.listStaged(null, 9)).entries.map(({ uploadId }) => uploadId),
    [upload],
  );
  await store.discard(upload);
  await store.delete(old.location);
  assert.deepEqual((await source.list(null, 9)).entries, []);
  assert.deepEqual((await store.listStaged(null, 9)).entries, []);
});
