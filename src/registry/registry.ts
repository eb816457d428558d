import type { BlobStore } from '../blobs/blob-store.ts';
import type { Config } from '../config/config.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { ByteCache } from '../std/byte-cache.ts';
import type { Clock } from '../std/clock.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { DeleteDeps } from './delete.ts';
import { createImmutability } from './immutability.ts';
import type { MountDeps } from './mount-blob.ts';
import type { PullBlobDeps } from './pull-blob.ts';
import type { PushManifestDeps } from './push-manifest.ts';
import { RunningDigests } from './running-digests.ts';
import { createSpaceReserve } from './space-reserve.ts';
import { UploadLeases } from './upload-leases.ts';
import type { UploadDeps } from './uploads.ts';

/** What the rules of `/v2` need, put together once; each rule names the few parts that it takes. */
export type Registry = UploadDeps & MountDeps & PullBlobDeps & PushManifestDeps & DeleteDeps;

export function createRegistry(deps: {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly config: Pick<Config, 'limits' | 'storage' | 'retention' | 'registry'>;
  readonly clock: Clock;
  /** The same for all processes of one run of the program, another after a restart. */
  readonly runId: string;
  readonly telemetry: Telemetry;
}): Registry {
  const { meta, blobs, config, clock, runId } = deps;
  const { limits, retention } = config;
  return {
    meta,
    blobs,
    // The other half is for manifests.
    smallBlobs: new ByteCache({
      bytesMax: Math.floor(limits.memoryCacheBytesMax / 2),
      entryBytesMax: Number.POSITIVE_INFINITY,
    }),
    clock,
    runId,
    metrics: deps.telemetry.metrics,
    leases: new UploadLeases({ meta, clock, idleSecondsMax: limits.uploadIdleSecondsMax }),
    running: new RunningDigests(),
    space: createSpaceReserve({ blobs, reserveBytes: config.storage.reserveBytes, clock }),
    immutability: createImmutability(retention.immutableTags),
    graceSeconds: retention.minAgeSeconds,
    deletesAllowed: config.registry.deletes,
    sparse: config.registry.sparseIndexes,
    blobBytesMax: limits.blobBytesMax,
    uploadsOpenMax: limits.uploadsOpenMax,
    manifestBytesMax: limits.manifestBytesMax,
    descriptorsMax: limits.descriptorsMax,
    tagParametersMax: limits.tagParametersMax,
  };
}
