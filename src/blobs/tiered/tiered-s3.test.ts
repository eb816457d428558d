import { after } from 'node:test';
import { startMinio } from '../../../test/harness/minio.ts';
import { runBlobStoreContract } from '../contract.ts';
import { openBucket } from '../s3/testing.ts';
import { knowingDigests, openTiers, strayFiles } from './tiers-for-tests.ts';

const LARGE_BYTES = 2 * 5 * 1024 * 1024 + 17;

const service = await startMinio();
after(() => service[Symbol.asyncDispose]());

for (const mode of ['write-through', 'write-back'] as const) {
  for (const isServing of [false, true]) {
    runBlobStoreContract({
      name: `${mode}, cold tier MinIO, ${isServing ? 'digests known' : 'what is kept'}`,
      largeBytes: LARGE_BYTES,
      open: async () => {
        const bucket = await openBucket(service);
        const tiers = await openTiers({ mode, cold: bucket.open() });
        return {
          store: isServing ? knowingDigests(tiers.store) : tiers.store,
          reopen: async () => (await tiers.again()).store,
          leftovers: async () => {
            await tiers.store.settled();
            await tiers.send();
            return [...(await strayFiles(tiers.hotRoot)), ...(await bucket.leftovers())];
          },
          dispose: async () => {
            await tiers.dispose();
            await bucket.close();
          },
        };
      },
    });
  }
}
