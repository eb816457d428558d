import type { BlobStore } from '../blobs/blob-store.ts';
import { openBlobStore } from '../blobs/open-blob-store.ts';
import type { Config } from '../config/config.ts';
import { type LedgerClock, openLedgerClock } from '../meta/ledger-clock.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { openMetaStore } from '../meta/open-meta-store.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';

export interface Stores {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  /** The time that every node goes by. */
  readonly clock: LedgerClock;
}

/** Of a ledger that has been migrated; throws what `openMetaStore` and `openBlobStore` throw. */
export async function openStores(
  config: Config,
  telemetry: Pick<Telemetry, 'metrics' | 'logger'>,
): Promise<Stores> {
  const { metrics } = telemetry;
  const meta = await openMetaStore(config, {
    mode: 'serve',
    metrics,
    log: telemetry.logger('meta'),
    // The other half is for small blobs.
    manifestCacheBytesMax: Math.floor(config.limits.memoryCacheBytesMax / 2),
  });
  try {
    const clock = await openLedgerClock(meta);
    const log = telemetry.logger('blobs');
    return { meta, clock, blobs: await openBlobStore({ metrics, log }, config) };
  } catch (error) {
    await meta.close();
    throw error;
  }
}

export async function closeStores({ meta, blobs, clock }: Stores): Promise<void> {
  clock.close();
  await blobs.close();
  await meta.close();
}
