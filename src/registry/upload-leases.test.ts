import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { UploadId } from '../blobs/blob-store.ts';
import { newUploadId } from '../blobs/upload-id.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { openTemporaryMetaStore } from '../meta/sqlite/temporary-meta-store.ts';
import type { RepositoryName } from '../oci/name.ts';
import { systemClock } from '../std/clock.ts';
import { UploadLeases } from './upload-leases.ts';

const { signal } = new AbortController();

describe('UploadLeases', () => {
  let meta: MetaStore;
  let leases: UploadLeases;
  let id: UploadId;

  beforeEach(async () => {
    meta = await openTemporaryMetaStore();
    leases = new UploadLeases({ meta, clock: systemClock, idleSecondsMax: 60 });
    id = newUploadId();
    const now = systemClock.now();
    await meta.transaction((tx) =>
      tx.uploads.insert({
        id,
        repository: 'org/app' as RepositoryName,
        principal: 'somebody',
        algorithm: 'sha256',
        offsetBytes: 0,
        digestSoFar: null,
        hashedInRun: null,
        closingAs: null,
        startedAt: now,
        expiresAt: now + 60_000,
      }),
    );
  });
  afterEach(() => meta.close());

  it('hold, another request wants the upload, ends the work, which still holds it', () =>
    leases.hold(id, signal, async (lease) => {
      const asked = await meta.transaction((tx) => tx.uploads.acquire(id, 'another', 10_000));
      assert.equal(asked, 'busy');
      if (!lease.signal.aborted) await once(lease.signal, 'abort');
      assert.ok(!lease.lost.aborted);
    }));

  it('hold, the lease in the hands of another request, ends the work and says that it is lost', () =>
    leases.hold(id, signal, async (lease) => {
      const progress = {
        offsetBytes: 0,
        digestSoFar: null,
        hashedInRun: null,
        expiresAt: Date.now() + 60_000,
      };
      await meta.transaction((tx) => tx.uploads.release(id, lease.token, progress));
      await meta.transaction((tx) => tx.uploads.acquire(id, 'another', 10_000));
      if (!lease.lost.aborted) await once(lease.lost, 'abort');
      assert.ok(lease.signal.aborted);
    }));

  it('hold, a ledger that does not answer, ends the work before another request may have the lease', async () => {
    const since = performance.now();
    await leases.hold(id, signal, async (lease) => {
      await meta.close();
      await once(lease.lost, 'abort');
      assert.ok(performance.now() - since < 10_000);
      assert.ok(lease.signal.aborted);
    });
    meta = await openTemporaryMetaStore();
  });
});
