import { test } from 'node:test';
import { accessContract } from './contract/access.ts';
import { blobContract } from './contract/blobs.ts';
import { concurrencyContract } from './contract/concurrency.ts';
import type { ContractFixture } from './contract/fixture.ts';
import { leaseContract } from './contract/leases.ts';
import { manifestContract } from './contract/manifests.ts';
import { nodeContract } from './contract/nodes.ts';
import { queueContract } from './contract/queues.ts';
import { tagContract } from './contract/tags.ts';
import { transactionContract } from './contract/transactions.ts';
import { uploadContract } from './contract/uploads.ts';

/** What every meta store must do. `open` gives an empty one; it is closed after each test. */
export function metaStoreContract(driver: string, open: ContractFixture['open']): void {
  const fixture: ContractFixture = {
    open,
    check(name, body) {
      test(`${driver}: ${name}`, async () => {
        const store = await open();
        try {
          await body(store);
        } finally {
          await store.close();
        }
      });
    },
  };
  transactionContract(fixture);
  concurrencyContract(fixture);
  manifestContract(fixture);
  tagContract(fixture);
  blobContract(fixture);
  uploadContract(fixture);
  accessContract(fixture);
  queueContract(fixture);
  leaseContract(fixture);
  nodeContract(fixture);
}
