import type { Config } from '../config/config.ts';
import type { Logger, Metrics } from '../telemetry/telemetry.ts';
import type { BlobStore } from './blob-store.ts';
import { measured } from './measured.ts';

/** What the memory driver may hold, staged bytes included. */
const MEMORY_BYTES_MAX = 512 * 1024 * 1024;

/** What a store needs of the configuration. */
export interface BlobStoreConfig {
  readonly storage: Config['storage'];
  readonly secrets: Pick<Config['secrets'], 's3' | 'ghostbay'>;
}

export interface BlobStoreDeps {
  readonly metrics: Pick<Metrics, 'storeOperation' | 'tier' | 'tierBacklog' | 'tierCopies'>;
  /** For what nobody who asks is told: a rotten copy, say. */
  readonly log?: Pick<Logger, 'warn' | 'error'>;
}

type OpenDriver = (config: BlobStoreConfig, deps: BlobStoreDeps) => Promise<BlobStore>;

/** The built-in drivers. A driver's code is loaded only when it is configured. */
const DRIVERS: Readonly<Record<Config['storage']['backend'], OpenDriver>> = {
  fs: async ({ storage }) => {
    const { openFsBlobStore } = await import('./fs/fs-blob-store.ts');
    return await openFsBlobStore({ root: storage.root });
  },
  memory: async () => {
    const { openMemoryBlobStore } = await import('./memory/memory-blob-store.ts');
    return await openMemoryBlobStore({ bytesMax: MEMORY_BYTES_MAX });
  },
  s3: async ({ storage, secrets }) => {
    if (storage.s3 === null) throw new RangeError('no bucket is configured');
    const { openS3BlobStore } = await import('./s3/s3-blob-store.ts');
    return openS3BlobStore({ config: storage.s3, credentials: secrets.s3 });
  },
  ghostbay: async ({ storage, secrets }) => {
    const { ghostbay } = storage;
    if (ghostbay === null || secrets.ghostbay === null)
      throw new RangeError('no GhostBay bucket is configured');
    const { openGhostbayBlobStore } = await import('./ghostbay/ghostbay-blob-store.ts');
    return await openGhostbayBlobStore({ ...ghostbay, credentials: secrets.ghostbay });
  },
  tiered: async (config, deps) => {
    const { tiered, reserveBytes } = config.storage;
    if (tiered === null) throw new RangeError('no tiers are configured');
    const { openTieredBlobStore } = await import('./tiered/tiered-blob-store.ts');
    const { metrics, log = null } = deps;
    const cold = measured(await DRIVERS[tiered.cold](config, deps), metrics);
    try {
      return await openTieredBlobStore({ ...tiered, cold, reserveBytes, metrics, log });
    } catch (error) {
      await cold.close();
      throw error;
    }
  },
};

/** Opens the configured store, prepared and measured. Throws `Unavailable` when it cannot be used. */
export async function openBlobStore(deps: BlobStoreDeps, config: BlobStoreConfig): Promise<BlobStore> {
  if (config.storage.migrateFrom === 'none') return await openTarget(deps, config);
  const { MovingBlobStore } = await import('./moving-blob-store.ts');
  const { source, target } = await openBothStores(deps, config);
  return new MovingBlobStore(source, target);
}

/** Where blobs move from and to. */
export async function openBothStores(
  deps: BlobStoreDeps,
  config: BlobStoreConfig,
): Promise<{ readonly source: BlobStore; readonly target: BlobStore }> {
  const { migrateFrom } = config.storage;
  if (migrateFrom === 'none') throw new RangeError('no migration is configured');
  const target = await openTarget(deps, config);
  try {
    return { target, source: measured(await DRIVERS[migrateFrom](config, deps), deps.metrics) };
  } catch (error) {
    await target.close();
    throw error;
  }
}

async function openTarget(deps: BlobStoreDeps, config: BlobStoreConfig): Promise<BlobStore> {
  return measured(await DRIVERS[config.storage.backend](config, deps), deps.metrics);
}
