import { type AbandonedBlobsDeps, removeAbandonedBlobs } from '../registry/abandoned-blobs.ts';
import { inRounds } from './in-rounds.ts';
import type { Job } from './job.ts';

const INTERVAL_SECONDS = 10 * 60;
const BLOBS_PER_ROUND = 200;

/** Removes blobs whose push died between claiming the digest and serving it. */
export function removeAbandonedBlobsJob(deps: AbandonedBlobsDeps): Job {
  return {
    name: 'remove-abandoned-blobs',
    intervalSeconds: INTERVAL_SECONDS,
    scope: 'everywhere',
    async run(signal, fence) {
      const total = await inRounds(BLOBS_PER_ROUND, signal, () =>
        removeAbandonedBlobs(deps, { limit: BLOBS_PER_ROUND, signal, fence }),
      );
      return total === 0 ? null : { blobs: total };
    },
  };
}
