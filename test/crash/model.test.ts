/**
 * Many clients against an in-memory model while workers and the whole registry are killed. `MODEL_SEED`, `MODEL_STEPS`
 * and `MODEL_CLIENTS` repeat a run; one that fails is made smaller first, and the smallest is printed.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { type CrashServer, startCrashServer } from './crash-server.ts';
import { History } from './history.ts';
import { checkFsck, checkLeftovers } from './leftovers.ts';
import { ModelClient, type ModelWorld } from './model-client.ts';
import { SeededRandom } from './seeded-random.ts';

interface Run {
  readonly seed: number;
  readonly steps: number;
  readonly clients: number;
}

const full: Run = {
  seed: Number(process.env.MODEL_SEED ?? randomInt(2 ** 31)),
  steps: Number(process.env.MODEL_STEPS ?? 20_000),
  clients: Number(process.env.MODEL_CLIENTS ?? 8),
};
/** Kills of a worker per run: below what the primary takes for a program that cannot run. */
const WORKER_KILLS = 6;
const REGISTRY_KILLS = 3;
const SHRINKS_MAX = 8;

it('a registry, used by many clients while its processes are killed, answers as the model does', async () => {
  console.log(describeRun(full));
  const failure = await failureOf(full);
  if (failure === null) return;
  const smallest = await shrink(full, failure);
  throw new Error(`replay with ${describeRun(smallest.run)}`, { cause: smallest.failure });
});

it('History, a reader that sees what is past, unwritten or deleted, fails', () => {
  const history = new History();
  for (const value of ['one', 'two', null]) history.acknowledge('tag', history.begin('tag', value));
  const unanswered = history.begin('tag', 'three');
  assert.throws(() => history.observe('reader', 'tag', 'two', history.now('reader', 'tag')), /past/);
  assert.throws(() => history.observe('reader', 'tag', 'four', 0), /nobody wrote/);
  history.observe('reader', 'tag', null, history.now('reader', 'tag'));
  history.observe('reader', 'tag', 'three', history.now('reader', 'tag'));
  assert.equal(history.now('reader', 'tag'), unanswered);
  assert.throws(() => history.observe('reader', 'tag', null, history.now('reader', 'tag')), /past/);
});

async function failureOf(run: Run): Promise<unknown> {
  const registry = new Registry(run.seed);
  try {
    await registry.start();
    await play(run, registry);
    return null;
  } catch (error) {
    return error;
  } finally {
    await registry.close();
  }
}

/** Fewer steps, fewer clients, as long as it still fails. */
async function shrink(run: Run, failure: unknown): Promise<{ readonly run: Run; readonly failure: unknown }> {
  let best = { run, failure };
  let tries = 0;
  for (let changed = true; changed && tries < SHRINKS_MAX; ) {
    changed = false;
    const { steps, clients } = best.run;
    for (const smaller of [
      { ...best.run, steps: Math.ceil(steps / 2) },
      { ...best.run, clients: Math.ceil(clients / 2) },
    ]) {
      if (smaller.steps === steps && smaller.clients === clients) continue;
      tries += 1;
      const again = await failureOf(smaller);
      if (again === null) continue;
      best = { run: smaller, failure: again };
      changed = true;
      break;
    }
  }
  return best;
}

async function play(run: Run, registry: Registry): Promise<void> {
  const world: ModelWorld = {
    seed: run.seed,
    history: new History(),
    contents: new Map(),
    clients: [],
    port: () => registry.port(),
  };
  for (let number = 0; number < run.clients; number += 1)
    world.clients.push(new ModelClient(world, `c${number}`));
  const each = Math.ceil(run.steps / run.clients);
  let done = 0;
  const kills = plannedKills(run);
  await Promise.all(
    world.clients.map(async (client) => {
      for (let number = 0; number < each; number += 1) {
        await client.step(number);
        done += 1;
        const kill = kills.get(done);
        if (kill !== undefined) await registry[kill]();
      }
    }),
  );
  const reader = world.clients[0] ?? assert.fail();
  for (const key of world.history.keys) await reader.readKey(key);
  for (const client of world.clients) client.disconnect();
  console.log(`${done} steps, ${world.history.keys.length} names, ${kills.size} kills`);
  await registry.checkTheEnd();
}

function plannedKills({ seed, steps }: Run): ReadonlyMap<number, 'killWorker' | 'killAll'> {
  const random = new SeededRandom(seed);
  const kills = new Map<number, 'killWorker' | 'killAll'>();
  for (let count = 0; count < WORKER_KILLS; count += 1) kills.set(1 + random.integer(steps), 'killWorker');
  for (let count = 0; count < REGISTRY_KILLS; count += 1) kills.set(1 + random.integer(steps), 'killAll');
  return kills;
}

/** `drift serve` on one data directory, killed and started again. */
class Registry {
  readonly #dataDirectory = mkdtempSync(join(tmpdir(), 'drift-model-'));
  readonly #random: SeededRandom;
  #server: Promise<CrashServer> | null = null;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  async start(): Promise<void> {
    this.#server = startCrashServer({ dataDirectory: this.#dataDirectory, as: 'family' });
    await this.port();
  }

  async port(): Promise<number> {
    const server = await this.#server;
    if (server === null) throw new Error('not started');
    return server.port ?? assert.fail(`the registry did not start:\n${await server.ended}`);
  }

  async killAll(): Promise<void> {
    const old = await this.#server;
    this.#server = (async () => {
      await old?.killGroup();
      return startCrashServer({ dataDirectory: this.#dataDirectory, as: 'family' });
    })();
    await this.port();
  }

  /** Any child of the primary; it is replaced. */
  async killWorker(): Promise<void> {
    const { pid } = (await this.#server) ?? assert.fail();
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter(Boolean);
    if (children.length > 0) process.kill(Number(this.#random.pick(children)), 'SIGKILL');
  }

  async checkTheEnd(): Promise<void> {
    const server = await this.#server;
    const output = await server?.stop();
    assert.match(String(output), /"msg":"stopped"/);
    await checkLeftovers(this.#dataDirectory);
    await checkFsck(this.#dataDirectory);
  }

  async close(): Promise<void> {
    await (await this.#server)?.killGroup();
    rmSync(this.#dataDirectory, { recursive: true, force: true });
  }
}

function describeRun({ seed, steps, clients }: Run): string {
  return `MODEL_SEED=${seed} MODEL_STEPS=${steps} MODEL_CLIENTS=${clients}`;
}
