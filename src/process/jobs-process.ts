import { startJobs } from '../jobs/start-jobs.ts';
import { finishUpkeep } from '../jobs/upkeep-of-blobs.ts';
import { type ChildContext, type ChildWork, runChild } from './child.ts';
import type { StartOrder } from './ipc.ts';
import { closeStores, openStores } from './open-stores.ts';

/** Entry of the jobs process: what may block the event loop for a moment does so here. */
runChild(beginJobs);

async function beginJobs(order: StartOrder, { telemetry }: ChildContext): Promise<ChildWork> {
  const { config, runId, role } = order;
  const stores = await openStores(config, telemetry);
  const jobs = startJobs({
    ...stores,
    config,
    telemetry,
    holder: `${runId}/${role}`,
    nodeId: runId,
  });
  return {
    addresses: null,
    async reload() {},
    async stop(drainMilliseconds) {
      await jobs.stop();
      await finishUpkeep(stores.blobs.upkeep, AbortSignal.timeout(drainMilliseconds));
      await closeStores(stores);
    },
  };
}
