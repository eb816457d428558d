import { startGhostbay } from '../../../test/harness/ghostbay.ts';
import { bucketOn, strayKeys } from '../../../test/harness/ghostbay-bucket.ts';
import { runBlobStoreContract } from '../contract.ts';
import { openGhostbayBlobStore } from './ghostbay-blob-store.ts';

const KIB = 1024;

for (const [name, segmentBytes] of [
  ['ghostbay, segments of 512 KiB', 512 * KIB],
  ['ghostbay, one segment for everything', 8 * KIB * KIB],
] as const) {
  runBlobStoreContract({
    name,
    open: async () => {
      const double = await startGhostbay();
      const options = { ...(await bucketOn(double)), segmentBytes };
      const store = await openGhostbayBlobStore(options);
      return {
        store,
        reopen: () => openGhostbayBlobStore(options),
        leftovers: () => strayKeys(double),
        dispose: async () => {
          await store.close();
          await double.stop();
        },
      };
    },
  });
}
