import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import { openTemporaryMetaStore } from '../meta/sqlite/temporary-meta-store.ts';
import { systemClock } from '../std/clock.ts';
import type { Job } from './job.ts';
import { withLease } from './lease.ts';
import { runOnce, type SchedulerDependencies, startScheduler } from './scheduler.ts';

describe('scheduler', () => {
  let meta: Awaited<ReturnType<typeof openTemporaryMetaStore>>;
  let lines: string[];

  before(async () => {
    meta = await openTemporaryMetaStore();
  });

  beforeEach(() => {
    lines = [];
  });

  after(() => meta.close());

  const deps = (holder: string, jobs: readonly Job[] = []): SchedulerDependencies => ({
    meta,
    clock: systemClock,
    holder,
    jobs,
    logger: pino({}, { write: (line: string) => void lines.push(line) }),
  });

  const job = (run: Job['run'], scope: Job['scope'] = 'everywhere'): Job => ({
    name: 'test',
    intervalSeconds: 0.01,
    scope,
    run,
  });

  const never = new AbortController().signal;

  it('a job, while another process runs it, does not run', async () => {
    let runs = 0;
    const counting = job(async () => {
      runs += 1;
      return null;
    });
    await withLease(deps('first'), 'job:test', () => runOnce(deps('second'), counting, never));
    assert.equal(runs, 0);
    await runOnce(deps('second'), counting, never);
    assert.equal(runs, 1);
  });

  it('a job of this machine, while another process runs it, runs as well', async () => {
    let runs = 0;
    const counting = job(async () => {
      runs += 1;
      return null;
    }, 'here');
    await withLease(deps('first'), 'job:test', () => runOnce(deps('second'), counting, never));
    assert.equal(runs, 1);
  });

  it('a job that failed, is logged, gives its lease back and runs again', async () => {
    const failing = job(async () => {
      throw new Error('no room');
    });
    assert.equal(await runOnce(deps('first'), failing, never), false);
    assert.match(lines.join(''), /job failed; it is tried again/);
    assert.equal(
      await runOnce(
        deps('second'),
        job(async () => ({ done: 3 })),
        never,
      ),
      true,
    );
    assert.match(lines.at(-1) ?? '', /"job":"test","done":3/);
  });

  it('a scheduler, started, runs its jobs again and again until it is stopped', async () => {
    let runs = 0;
    const third = Promise.withResolvers<void>();
    const counting = job(async () => {
      runs += 1;
      if (runs === 3) third.resolve();
      return null;
    });
    const scheduler = startScheduler(deps('first', [counting]));
    await third.promise;
    await scheduler.stop();
    const atStop = runs;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(runs, atStop);
  });

  it('stop, while a job runs, aborts its signal and waits for it', async () => {
    const begun = Promise.withResolvers<void>();
    let isOver = false;
    const waiting = job(async (signal) => {
      begun.resolve();
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      isOver = true;
      return null;
    });
    const scheduler = startScheduler(deps('first', [waiting]));
    await begun.promise;
    await scheduler.stop();
    assert.equal(isOver, true);
  });
});
