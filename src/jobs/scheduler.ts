import { setTimeout as sleep } from 'node:timers/promises';
import { LeaseLost, noFence } from '../registry/fence.ts';
import type { Logger } from '../telemetry/telemetry.ts';
import type { Job } from './job.ts';
import { type LeaseDependencies, withLease } from './lease.ts';

/** After failures a job waits twice as long each time, up to this. */
const BACKOFF_SECONDS_MAX = 15 * 60;
/** The first runs spread over this time, so that a start is not also everything else. */
const FIRST_RUN_SECONDS_MAX = 5;
/** How often a node looks whether a job that another one ran is due: it may have died in the middle. */
const LOOK_SECONDS = 5;

export interface SchedulerDependencies extends LeaseDependencies {
  readonly logger: Logger;
  readonly jobs: readonly Job[];
}

export interface Scheduler {
  /** Aborts what runs and resolves when nothing does any more. */
  stop(): Promise<void>;
}

/** `elsewhere`: another node has it, or has just done it, or this one drains. */
type Outcome = 'done' | 'failed' | 'elsewhere';

/** Each job in a loop of its own: it never runs twice at once, and its failures are nobody else's. */
export function startScheduler(deps: SchedulerDependencies): Scheduler {
  const stopping = new AbortController();
  const bells = new Map(deps.jobs.map((job) => [leaseOf(job), new Bell()]));
  const unsubscribe = deps.meta.notices.subscribe((notice) => {
    if (notice.kind === 'lease_freed') bells.get(notice.name)?.ring();
  });
  const loops = deps.jobs.map((job) =>
    runForever(deps, job, { signal: stopping.signal, bell: bells.get(leaseOf(job)) ?? new Bell() }),
  );
  return {
    async stop() {
      stopping.abort(new Error('the jobs process stops'));
      unsubscribe();
      await Promise.all(loops);
    },
  };
}

function leaseOf(job: Job): string {
  return `job:${job.name}`;
}

/** Ends a pause early. */
class Bell {
  #current = new AbortController();

  get signal(): AbortSignal {
    return this.#current.signal;
  }

  ring(): void {
    this.#current.abort();
    this.#current = new AbortController();
  }
}

async function runForever(
  deps: SchedulerDependencies,
  job: Job,
  ends: { readonly signal: AbortSignal; readonly bell: Bell },
): Promise<void> {
  let failures = 0;
  let waitSeconds = Math.min(job.intervalSeconds, FIRST_RUN_SECONDS_MAX);
  while (await pause(waitSeconds, ends)) {
    const outcome = await runOnce(deps, job, ends.signal);
    failures = outcome === 'failed' ? failures + 1 : 0;
    waitSeconds =
      outcome === 'elsewhere'
        ? Math.min(job.intervalSeconds, LOOK_SECONDS)
        : Math.min(job.intervalSeconds * 2 ** failures, Math.max(BACKOFF_SECONDS_MAX, job.intervalSeconds));
  }
}

export async function runOnce(deps: SchedulerDependencies, job: Job, signal: AbortSignal): Promise<Outcome> {
  const started = performance.now();
  try {
    const result =
      job.scope === 'here' ? { value: await job.run(signal, noFence) } : await runAlone(deps, job, signal);
    if (result === null) return 'elsewhere';
    if (result.value !== null) {
      const seconds = (performance.now() - started) / 1000;
      deps.logger.info({ job: job.name, ...result.value, seconds }, 'job done');
    }
    return 'done';
  } catch (error) {
    if (signal.aborted) return 'done';
    if (error instanceof LeaseLost) {
      deps.logger.warn({ job: job.name }, 'another node goes on with this job');
      return 'elsewhere';
    }
    deps.logger.error({ job: job.name, err: error }, 'job failed; it is tried again');
    return 'failed';
  }
}

function runAlone(deps: SchedulerDependencies, job: Job, signal: AbortSignal) {
  const request = { name: leaseOf(job), restMillis: job.intervalSeconds * 1000 };
  return withLease(deps, request, async ({ lost, fence }) => {
    const value = await job.run(AbortSignal.any([signal, lost]), fence);
    // It did not come to its end: somebody else may go on at once.
    if (signal.aborted) throw new LeaseLost(request.name);
    return value;
  });
}

/** False when it is time to stop. */
async function pause(
  seconds: number,
  { signal, bell }: { readonly signal: AbortSignal; readonly bell: Bell },
): Promise<boolean> {
  try {
    await sleep(seconds * 1000, undefined, { signal: AbortSignal.any([signal, bell.signal]) });
    return true;
  } catch {
    return !signal.aborted;
  }
}
