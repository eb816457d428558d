import type { StorageConfig } from '../config/config.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import type { BlobStore } from './blob-store.ts';
import { measured } from './measured.ts';

/** What the memory driver may hold, staged bytes included. */
const MEMORY_BYTES_MAX = 512 * 1024 * 1024;

type OpenDriver = (storage: StorageConfig) => Promise<BlobStore>;

/** The built-in drivers. A driver's code is loaded only when it is configured. */
const DRIVERS: Readonly<Record<StorageConfig['backend'], OpenDriver>> = {
  fs: async (storage) => {
    const { openFsBlobStore } = await import('./fs/fs-blob-store.ts');
    return await openFsBlobStore({ root: storage.root });
  },
  memory: async () => {
    const { openMemoryBlobStore } = await import('./memory/memory-blob-store.ts');
    return await openMemoryBlobStore({ bytesMax: MEMORY_BYTES_MAX });
  },
};

/** Opens the configured store, prepared and measured. Throws `Unavailable` when it cannot be used. */
export async function openBlobStore(
  dependencies: { readonly metrics: Pick<Metrics, 'storeOperation'> },
  storage: StorageConfig,
): Promise<BlobStore> {
  return measured(await DRIVERS[storage.backend](storage), dependencies.metrics);
}
