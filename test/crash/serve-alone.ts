/** A whole registry in one process: doors and jobs. It starts in a third of the time of `drift serve`. */
import { startApp } from '../../src/app.ts';
import { readConfig } from '../../src/config/read.ts';
import { startJobs } from '../../src/jobs/start-jobs.ts';
import { prepareData } from '../../src/process/prepare-data.ts';
import { systemClock } from '../../src/std/clock.ts';
import { createTelemetry } from '../../src/telemetry/create-telemetry.ts';

const resolved = readConfig({ env: process.env, flags: {}, cwd: process.cwd() });
const telemetry = createTelemetry({ role: 'alone', version: '0.0.0', ...resolved.config.logging });
const data = await prepareData(resolved.config, telemetry.metrics);
const { config } = data;
// The lock and the ledger stay open as long as the process lives: nothing may collect them.
process.once('exit', () => void data.close());
const runId = `${process.pid}-${Date.now()}`;
const app = await startApp({
  config,
  runId,
  telemetry,
  people: { users: config.auth.users, passwords: config.secrets.passwords, htpasswd: [] },
});
startJobs({
  meta: app.meta,
  blobs: app.blobs,
  clock: systemClock,
  config,
  telemetry,
  holder: runId,
  nodeId: runId,
});
console.log(JSON.stringify({ msg: 'listening', registry: `http://127.0.0.1:${app.registry.port}` }));
