import type { BlobStore } from '../blobs/blob-store.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { Clock } from '../std/clock.ts';

/** How old an answer of the device may be before it is asked again, in milliseconds. */
const spaceAgeMillisMax = 1000;

/** Keeps the last bytes of the device free: new content is refused early, so that reads, deletes and the ledger go on. */
export interface SpaceReserve {
  /** Throws STORAGE_FULL when `announcedBytes` more would reach into the reserve. */
  require(announcedBytes: number): Promise<void>;
}

export function createSpaceReserve(deps: {
  readonly blobs: Pick<BlobStore, 'space'>;
  readonly reserveBytes: number;
  readonly clock: Clock;
}): SpaceReserve {
  let known: { readonly freeBytes: number; readonly at: number } | null = null;
  return {
    require: async (announcedBytes) => {
      if (deps.blobs.space === null || deps.reserveBytes <= 0) return;
      const now = deps.clock.now();
      if (known === null || Math.abs(now - known.at) > spaceAgeMillisMax) {
        known = { freeBytes: (await deps.blobs.space()).freeBytes, at: now };
      }
      if (known.freeBytes - announcedBytes >= deps.reserveBytes) return;
      throw new RegistryError(
        'STORAGE_FULL',
        'the registry has no room for new content: less than its free-space reserve would be left; delete content or enlarge the disk',
        { retryAfterSeconds: 60 },
      );
    },
  };
}
