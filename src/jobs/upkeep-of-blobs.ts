import type { Upkeep } from '../blobs/blob-store.ts';
import type { Job } from './job.ts';

/** What the blob store leaves for later. It is about something that only this machine has. */
export function upkeepJob(upkeep: Upkeep): Job {
  const { name, intervalSeconds } = upkeep;
  return { name, intervalSeconds, scope: 'here', run: (signal) => upkeep.run(signal) };
}

/**
 * At the end of the program, when nothing else runs any more: what the store wants done before that, again and again until
 * there is nothing to do or the signal aborts.
 */
export async function finishUpkeep(upkeeps: readonly Upkeep[], signal: AbortSignal): Promise<void> {
  const atEnd = upkeeps.filter((upkeep) => upkeep.atEnd);
  for (const upkeep of atEnd) {
    while (!signal.aborted && (await upkeep.run(signal)) !== null);
  }
}
