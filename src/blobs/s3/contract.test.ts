import { after } from 'node:test';
import { startMinio } from '../../../test/harness/minio.ts';
import { startVersitygw } from '../../../test/harness/versitygw.ts';
import { runBlobStoreContract } from '../contract.ts';
import { openBucket } from './testing.ts';

const LARGE_BYTES = 3 * 5 * 1024 * 1024 + 17;

for (const { name, start } of [
  { name: 'MinIO', start: startMinio },
  { name: 'versitygw', start: startVersitygw },
]) {
  const service = await start();
  after(() => service[Symbol.asyncDispose]());
  runBlobStoreContract({
    name: `s3 on ${name}`,
    largeBytes: LARGE_BYTES,
    open: async () => {
      const bucket = await openBucket(service);
      const store = bucket.open();
      return {
        store,
        reopen: async () => bucket.open(),
        leftovers: () => bucket.leftovers(),
        dispose: () => bucket.close(),
      };
    },
  });
}
