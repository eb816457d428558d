/** The line to PostgreSQL goes bad in every way that lines do: what each route answers, how soon, and after it is mended. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Fault, type FaultProxy, startFaultProxy } from '../harness/fault-proxy.ts';
import { type Postgres, startPostgres } from '../harness/postgres.ts';
import { spawnDrift } from '../harness/spawn-drift.ts';
import { type StartedRegistry, startRegistry } from '../harness/start-registry.ts';
import { checkAway, EveryRoute, untilMended } from './every-route.ts';

const CONNECT_SECONDS = 1;
/** Nothing here may take as long. */
const QUERY_SECONDS = 60;
/** A doubt, a look for a connection, and what a busy machine adds. */
const ANSWER_MILLISECONDS_MAX = (CONNECT_SECONDS + 5) * 1000;
/** When it is known to be away nobody waits for it: what a busy machine needs for all routes at once. */
const KNOWN_MILLISECONDS_MAX = 3_000;
/** Far less than what running requests would get. */
const STOP_MILLISECONDS_MAX = 15_000;
const MENDED_MILLISECONDS_MAX = 20_000;
/** Answered from the configuration alone. */
const WITHOUT_LEDGER = new Set(
  ['ping', 'discover', 'repositoryDiscover'].flatMap((kind) => [`GET ${kind}`, `HEAD ${kind}`]),
);

const FAULTS: Readonly<Record<string, Fault>> = {
  'refuses connections': { kind: 'refuse' },
  'takes connections and says nothing': { kind: 'hang' },
  'resets after the first bytes of an answer': { kind: 'reset', direction: 'down', afterBytes: 1 },
  'resets after the first bytes of a request': { kind: 'reset', direction: 'up', afterBytes: 1 },
  'ends in the middle of an answer': { kind: 'truncate', afterBytes: 3 },
};

describe('the database, away', () => {
  let postgres: Postgres;
  let line: FaultProxy;
  let registry: StartedRegistry;
  let routes: EveryRoute;

  before(async () => {
    postgres = await startPostgres({ durable: false });
    line = await startFaultProxy({ protocol: 'tcp', targetPort: postgres.port });
    registry = await startRegistry({
      env: {
        DRIFT_DATABASE_BACKEND: 'postgres',
        DRIFT_DATABASE_URL: line.through(await postgres.createDatabase()),
        DRIFT_DATABASE_CONNECT_TIME: `${CONNECT_SECONDS}s`,
        DRIFT_DATABASE_QUERY_TIME: `${QUERY_SECONDS}s`,
        DRIFT_DATABASE_PARTITIONS: '2',
      },
    });
    routes = new EveryRoute(registry);
    await routes.prepare();
  });
  after(async () => {
    await registry.stop();
    await line[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
  });

  for (const [name, fault] of Object.entries(FAULTS)) {
    it(`every route, while the line to the database ${name}, is a timely 503, and well afterwards`, async () => {
      await line.set(fault);
      for (const millisecondsMax of [ANSWER_MILLISECONDS_MAX, KNOWN_MILLISECONDS_MAX]) {
        for (const asked of await routes.ask()) {
          if (WITHOUT_LEDGER.has(asked.name)) assert.equal(asked.status, 200, asked.name);
          else checkAway(asked, millisecondsMax);
        }
      }
      assert.equal((await fetch(new URL('/readyz', registry.consoleUrl))).status, 503);
      await line.set({ kind: 'pass' });
      await untilMended(MENDED_MILLISECONDS_MAX, () => routes.pull());
      await routes.push();
    });
  }

  it('every route, while all that passes to and from the database is delayed, goes on', async () => {
    await line.set({ kind: 'delay', milliseconds: 50 });
    for (const asked of await routes.ask()) assert.ok(asked.status < 500, `${asked.name}: ${asked.status}`);
    assert.ok(line.met > 0);
    await line.set({ kind: 'pass' });
    await routes.pull();
  });

  it('a node, that is told to stop while the database takes connections and says nothing, ends', async () => {
    const drift = await spawnDrift({
      env: {
        DRIFT_WORKERS: '1',
        DRIFT_DATABASE_BACKEND: 'postgres',
        DRIFT_DATABASE_URL: line.through(await postgres.createDatabase()),
        DRIFT_DATABASE_CONNECT_TIME: `${CONNECT_SECONDS}s`,
        DRIFT_DATABASE_QUERY_TIME: `${QUERY_SECONDS}s`,
      },
    });
    await line.set({ kind: 'hang' });
    const since = performance.now();
    assert.deepEqual(await drift.stop(), { code: 0, signal: null });
    assert.ok(performance.now() - since < STOP_MILLISECONDS_MAX);
    await line.set({ kind: 'pass' });
  });
});
