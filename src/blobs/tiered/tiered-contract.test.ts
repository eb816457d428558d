import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobStore } from '../blob-store.ts';
import { runBlobStoreContract } from '../contract.ts';
import { openFsBlobStore } from '../fs/fs-blob-store.ts';
import { openMemoryBlobStore } from '../memory/memory-blob-store.ts';
import { knowingDigests, openTiers, strayFiles } from './tiers-for-tests.ts';

/** The cold tier names a place for each upload (memory), or one for each digest (file system). */
const COLD: Readonly<Record<string, () => Promise<{ store: BlobStore; remove: () => Promise<void> }>>> = {
  memory: async () => ({
    store: await openMemoryBlobStore({ bytesMax: 256 * 1024 * 1024 }),
    remove: async () => {},
  }),
  fs: async () => {
    const root = await mkdtemp(join(tmpdir(), 'drift-cold-'));
    return {
      store: await openFsBlobStore({ root }),
      remove: () => rm(root, { recursive: true, force: true }),
    };
  },
};

for (const mode of ['write-through', 'write-back'] as const) {
  for (const [coldName, openCold] of Object.entries(COLD)) {
    for (const isServing of [false, true]) {
      runBlobStoreContract({
        name: `${mode}, cold tier ${coldName}, ${isServing ? 'digests known' : 'what is kept'}`,
        open: async () => {
          const cold = await openCold();
          const tiers = await openTiers({ mode, cold: cold.store });
          return {
            store: isServing ? knowingDigests(tiers.store) : tiers.store,
            reopen: async () => (await tiers.again()).store,
            leftovers: async () => {
              await tiers.store.settled();
              return await strayFiles(tiers.hotRoot);
            },
            dispose: async () => {
              await tiers.dispose();
              await cold.store.close();
              await cold.remove();
            },
          };
        },
      });
    }
  }
}
