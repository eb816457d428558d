import { expireUploads, type UploadCleaningDeps, withdrawEnded } from '../registry/expire-uploads.ts';
import { inRounds } from './in-rounds.ts';
import type { Job } from './job.ts';

const INTERVAL_SECONDS = 30;
const UPLOADS_PER_ROUND = 200;

/** Drops uploads that nobody goes on with, and what is left of those that ended. */
export function expireUploadsJob(deps: UploadCleaningDeps): Job {
  return {
    name: 'expire-uploads',
    intervalSeconds: INTERVAL_SECONDS,
    scope: 'everywhere',
    async run(signal, fence) {
      const request = { limit: UPLOADS_PER_ROUND, fence };
      const uploads = await inRounds(UPLOADS_PER_ROUND, signal, () => expireUploads(deps, request));
      await inRounds(UPLOADS_PER_ROUND, signal, () => withdrawEnded(deps, request));
      return uploads === 0 ? null : { uploads };
    },
  };
}
