import { sweepStaged, type UploadCleaningDeps } from '../registry/expire-uploads.ts';
import type { Job } from './job.ts';

const INTERVAL_SECONDS = 60 * 60;
/** A request that lost its upload may write on for a while. */
const GRACE_SECONDS = 24 * 60 * 60;

/** Removes staged bytes that a crash left without an upload. */
export function sweepStagedJob(deps: UploadCleaningDeps): Job {
  return {
    name: 'sweep-staged',
    intervalSeconds: INTERVAL_SECONDS,
    scope: 'everywhere',
    // It writes nothing into the ledger, and an upload's id is never given twice: what is swept late was swept already.
    async run() {
      const removed = await sweepStaged(deps, GRACE_SECONDS);
      return removed === 0 ? null : { removed };
    },
  };
}
