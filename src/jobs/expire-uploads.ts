import { expireUploads, type UploadCleaningDeps } from '../registry/expire-uploads.ts';
import type { Job } from './job.ts';

const INTERVAL_SECONDS = 30;
const UPLOADS_PER_ROUND = 200;

/** Drops uploads that nobody goes on with. */
export function expireUploadsJob(deps: UploadCleaningDeps): Job {
  return {
    name: 'expire-uploads',
    intervalSeconds: INTERVAL_SECONDS,
    scope: 'everywhere',
    async run(signal) {
      let total = 0;
      let dropped: number;
      do {
        dropped = await expireUploads(deps, UPLOADS_PER_ROUND);
        total += dropped;
      } while (dropped === UPLOADS_PER_ROUND && !signal.aborted);
      return total === 0 ? null : { uploads: total };
    },
  };
}
