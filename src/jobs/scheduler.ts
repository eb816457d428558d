import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../telemetry/telemetry.ts';
import type { Job } from './job.ts';
import { type LeaseDependencies, withLease } from './lease.ts';

/** After failures a job waits twice as long each time, up to this. */
const BACKOFF_SECONDS_MAX = 15 * 60;
/** The first runs spread over this time, so that a start is not also everything else. */
const FIRST_RUN_SECONDS_MAX = 5;

export interface SchedulerDependencies extends LeaseDependencies {
  readonly logger: Logger;
  readonly jobs: readonly Job[];
}

export interface Scheduler {
  /** Aborts what runs and resolves when nothing does any more. */
  stop(): Promise<void>;
}

/** Each job in a loop of its own: it never runs twice at once, and its failures are nobody else's. */
export function startScheduler(deps: SchedulerDependencies): Scheduler {
  const stopping = new AbortController();
  const loops = deps.jobs.map((job) => runForever(deps, job, stopping.signal));
  return {
    async stop() {
      stopping.abort(new Error('the jobs process stops'));
      await Promise.all(loops);
    },
  };
}

async function runForever(deps: SchedulerDependencies, job: Job, signal: AbortSignal): Promise<void> {
  let failures = 0;
  let waitSeconds = Math.min(job.intervalSeconds, FIRST_RUN_SECONDS_MAX);
  while (await pause(waitSeconds, signal)) {
    const done = await runOnce(deps, job, signal);
    failures = done ? 0 : failures + 1;
    waitSeconds = Math.min(
      job.intervalSeconds * 2 ** failures,
      Math.max(BACKOFF_SECONDS_MAX, job.intervalSeconds),
    );
  }
}

/** False when it failed. */
export async function runOnce(deps: SchedulerDependencies, job: Job, signal: AbortSignal): Promise<boolean> {
  const started = performance.now();
  try {
    const result =
      job.scope === 'here'
        ? { value: await job.run(signal) }
        : await withLease(deps, `job:${job.name}`, (lost) => job.run(AbortSignal.any([signal, lost])));
    const did = result?.value ?? null;
    if (did !== null) {
      const seconds = (performance.now() - started) / 1000;
      deps.logger.info({ job: job.name, ...did, seconds }, 'job done');
    }
    return true;
  } catch (error) {
    if (!signal.aborted) deps.logger.error({ job: job.name, err: error }, 'job failed; it is tried again');
    return signal.aborted;
  }
}

/** False when it is time to stop. */
async function pause(seconds: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(seconds * 1000, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}
