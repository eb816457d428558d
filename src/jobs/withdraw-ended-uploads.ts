import { type EndedUploadsDeps, withdrawEnded } from '../registry/ended-uploads.ts';
import { inRounds } from './in-rounds.ts';
import type { Job } from './job.ts';

const INTERVAL_SECONDS = 60;
const UPLOADS_PER_ROUND = 1_000;

/** Removes what is left of uploads that ended without becoming a blob. */
export function withdrawEndedUploadsJob(deps: EndedUploadsDeps): Job {
  return {
    name: 'withdraw-ended-uploads',
    intervalSeconds: INTERVAL_SECONDS,
    scope: 'everywhere',
    // An upload's id is never given twice: what is withdrawn late was withdrawn already.
    async run(signal, fence) {
      const request = { limit: UPLOADS_PER_ROUND, signal, fence };
      const uploads = await inRounds(UPLOADS_PER_ROUND, signal, () => withdrawEnded(deps, request));
      return uploads === 0 ? null : { uploads };
    },
  };
}
