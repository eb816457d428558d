import { expireUploads, type UploadCleaningDeps } from '../registry/expire-uploads.ts';
import { inRounds } from './in-rounds.ts';
import type { Job } from './job.ts';

const INTERVAL_SECONDS = 30;
const UPLOADS_PER_ROUND = 200;

/** Drops uploads that nobody goes on with. */
export function expireUploadsJob(deps: UploadCleaningDeps): Job {
  return {
    name: 'expire-uploads',
    intervalSeconds: INTERVAL_SECONDS,
    scope: 'everywhere',
    async run(signal, fence) {
      const request = { limit: UPLOADS_PER_ROUND, fence };
      const total = await inRounds(UPLOADS_PER_ROUND, signal, () => expireUploads(deps, request));
      return total === 0 ? null : { uploads: total };
    },
  };
}
