import type { AddressInfo } from 'node:net';
import { isIPv6 } from 'node:net';
import { startApp } from '../app.ts';
import { startJobs } from '../jobs/start-jobs.ts';
import { type ChildContext, type ChildWork, runChild } from './child.ts';
import type { StartOrder } from './ipc.ts';

/** Entry of an HTTP worker. */
runChild(beginServing);

async function beginServing(order: StartOrder, context: ChildContext): Promise<ChildWork> {
  const { config, people, runId, role } = order;
  const { telemetry } = context;
  const { expositionAll } = context;
  const app = await startApp({ config, people, runId, telemetry, expositionAll, sharesPorts: true });
  const jobs = order.runsJobs
    ? startJobs({
        meta: app.meta,
        blobs: app.blobs,
        clock: app.clock,
        config,
        telemetry,
        holder: `${runId}/${role}`,
        nodeId: runId,
      })
    : null;
  const scheme = config.tls === null ? 'http' : 'https';
  return {
    addresses: { registry: urlOf(scheme, app.registry), console: urlOf(scheme, app.console) },
    reload: ({ people: next }) => app.reload(next),
    async stop(drainMilliseconds) {
      await jobs?.stop();
      await app.stop(drainMilliseconds);
    },
  };
}

function urlOf(scheme: string, { address, port }: AddressInfo): string {
  return `${scheme}://${isIPv6(address) ? `[${address}]` : address}:${port}`;
}
