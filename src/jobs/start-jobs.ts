import type { BlobStore } from '../blobs/blob-store.ts';
import type { Config } from '../config/config.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { checkpointJob } from './checkpoint.ts';
import { expireAccessJob } from './expire-access.ts';
import { expireUploadsJob } from './expire-uploads.ts';
import type { Job } from './job.ts';
import { removeAbandonedBlobsJob } from './remove-abandoned-blobs.ts';
import { rotateSigningKeysJob } from './rotate-signing-keys.ts';
import { type Scheduler, startScheduler } from './scheduler.ts';
import { sweepStagedJob } from './sweep-staged.ts';
import { upkeepJob } from './upkeep-of-blobs.ts';
import { withdrawEndedUploadsJob } from './withdraw-ended-uploads.ts';

export interface JobsDependencies {
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly config: Pick<Config, 'database' | 'retention'>;
  readonly telemetry: Pick<Telemetry, 'logger'>;
  readonly holder: string;
  readonly nodeId: string;
}

/** Every job of the program, in one explicit list. */
export function startJobs(deps: JobsDependencies): Scheduler {
  const { meta, clock, config, holder, nodeId } = deps;
  const jobs: readonly (Job | null)[] = [
    checkpointJob({ meta, ledgerFile: config.database.backend === 'sqlite' ? config.database.file : null }),
    expireUploadsJob(deps),
    withdrawEndedUploadsJob(deps),
    sweepStagedJob(deps),
    removeAbandonedBlobsJob({ ...deps, graceSeconds: config.retention.minAgeSeconds }),
    expireAccessJob(deps),
    rotateSigningKeysJob({ meta, clock }),
    ...deps.blobs.upkeep.map(upkeepJob),
  ];
  return startScheduler({
    meta,
    holder,
    nodeId,
    logger: deps.telemetry.logger('jobs'),
    jobs: jobs.filter((job) => job !== null),
  });
}
