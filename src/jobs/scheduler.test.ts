import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import type { NodeReport } from '../meta/meta-store.ts';
import { openTemporaryMetaStore } from '../meta/sqlite/temporary-meta-store.ts';
import { LeaseLost } from '../registry/fence.ts';
import type { Job } from './job.ts';
import { withLease } from './lease.ts';
import { runOnce, type SchedulerDependencies, startScheduler } from './scheduler.ts';

const INTERVAL_SECONDS = 600;
const NODE: NodeReport = {
  id: 'first',
  name: 'first',
  version: '1',
  schemaVersion: 1,
  addresses: [],
  startedAt: 0,
  skewMillis: 0,
};

describe('scheduler', () => {
  let meta: Awaited<ReturnType<typeof openTemporaryMetaStore>>;
  let lines: string[];
  let now = 0;

  before(async () => {
    meta = await openTemporaryMetaStore({ clock: { now: () => now } });
  });

  beforeEach(() => {
    lines = [];
    // Whatever an earlier test held or let rest is past.
    now += 24 * 3_600_000;
  });

  after(() => meta.close());

  const deps = (holder: string, jobs: readonly Job[] = []): SchedulerDependencies => ({
    meta,
    holder,
    nodeId: holder,
    jobs,
    logger: pino({}, { write: (line: string) => void lines.push(line) }),
  });

  const job = (run: Job['run'], more: Partial<Job> = {}): Job => ({
    name: 'test',
    intervalSeconds: INTERVAL_SECONDS,
    scope: 'everywhere',
    run,
    ...more,
  });

  const never = new AbortController().signal;
  const request = { name: 'job:test', restMillis: 0 };
  const nothing = job(async () => null);

  it('a job, while another node runs it, does not run', async () => {
    await withLease(deps('first'), request, async () => {
      assert.equal(await runOnce(deps('second'), nothing, never), 'elsewhere');
    });
    assert.equal(await runOnce(deps('second'), nothing, never), 'done');
  });

  it('a job, run on one node, rests for its interval on every node', async () => {
    assert.equal(await runOnce(deps('first'), nothing, never), 'done');
    assert.equal(await runOnce(deps('second'), nothing, never), 'elsewhere');
    now += INTERVAL_SECONDS * 1000;
    assert.equal(await runOnce(deps('second'), nothing, never), 'done');
  });

  it('a job, stopped before its end, does not rest: another node goes on', async () => {
    const stopping = new AbortController();
    const stopped = job(async () => {
      stopping.abort();
      return null;
    });
    await runOnce(deps('first'), stopped, stopping.signal);
    assert.equal(await runOnce(deps('second'), nothing, never), 'done');
  });

  it('a job of this machine, while another node runs it, runs as well', async () => {
    const here = job(async () => null, { scope: 'here' });
    await withLease(deps('first'), request, async () => {
      assert.equal(await runOnce(deps('second'), here, never), 'done');
    });
  });

  it('a job, on a node that drains, runs elsewhere', async () => {
    await meta.transaction((tx) => tx.nodes.report(NODE, 1000, true));
    assert.equal(await runOnce(deps('first'), nothing, never), 'elsewhere');
    assert.equal(await runOnce(deps('second'), nothing, never), 'done');
    await meta.transaction((tx) => tx.nodes.remove(NODE.id));
  });

  it('a job that stood still while another node took over, writes nothing more', async () => {
    const late = job(async (_signal, fence) => {
      // As after a stop of the machine: its own timers have not run.
      now += 60_000;
      assert.equal(await runOnce(deps('second'), nothing, never), 'done');
      await meta.transaction(async (tx) => {
        await fence(tx);
        await tx.access.putSetting('late', 'written');
      });
      return null;
    });
    assert.equal(await runOnce(deps('first'), late, never), 'elsewhere');
    assert.equal(await meta.read.access.setting('late'), null);
    assert.match(lines.join(''), /another node goes on with this job/);
  });

  it('withLease, when its work finds the lease lost, throws that', async () => {
    const working = withLease(deps('first'), request, async ({ fence }) => {
      now += 60_000;
      await withLease(deps('second'), request, async () => {});
      await meta.transaction(fence);
    });
    await assert.rejects(working, LeaseLost);
  });

  it('a job that failed, is logged, rests and runs again', async () => {
    const failing = job(async () => {
      throw new Error('no room');
    });
    assert.equal(await runOnce(deps('first'), failing, never), 'failed');
    assert.match(lines.join(''), /job failed; it is tried again/);
    now += INTERVAL_SECONDS * 1000;
    const going = job(async () => ({ done: 3 }));
    assert.equal(await runOnce(deps('second'), going, never), 'done');
    assert.match(lines.at(-1) ?? '', /"job":"test","done":3/);
  });

  it('a scheduler, started, runs its jobs again and again until it is stopped', async () => {
    let runs = 0;
    const third = Promise.withResolvers<void>();
    const counting = job(
      async () => {
        runs += 1;
        if (runs === 3) third.resolve();
        return null;
      },
      { intervalSeconds: 0.01, scope: 'here' },
    );
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
    const waiting = job(
      async (signal) => {
        begun.resolve();
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        isOver = true;
        return null;
      },
      { intervalSeconds: 0.01 },
    );
    const scheduler = startScheduler(deps('first', [waiting]));
    await begun.promise;
    await scheduler.stop();
    assert.equal(isOver, true);
  });
});
