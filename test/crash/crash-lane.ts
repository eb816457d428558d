import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ACTS, type Act, isCut, pushUntilCut } from './acts.ts';
import { type CrashServer, startCrashServer } from './crash-server.ts';
import { checkFsck, checkLeftovers } from './leftovers.ts';
import { Pusher } from './pusher.ts';
import { SeededRandom } from './seeded-random.ts';

/** Where to kill: at a step of one request of an act, or (without an act) of whatever else a registry does. */
export interface Place {
  readonly act: Act | null;
  readonly step: string;
}

const PUSHERS = 3;
/** `drift serve` with all its processes for one start in so many; one process for the others. */
const FAMILY_EVERY = 8;
const RESUME_EVERY = 20;
/** Names read back after a kill beside those that the kill left open. */
const SAMPLE = 6;
/** A step that the load took over from the armed request never comes: then the kill comes from outside. */
const PATIENCE_MILLISECONDS = 15_000;

/** Calls that go on while the program does: a statement that has run leaves what its next step finds. */
const BEGUN = /^(open|rename|unlink|mkdir|write|writev|sync|datasync|truncate|utimes) /;

const CHECKPOINTS = ['', '~'].flatMap((when) =>
  [1, 2].map((count) => ({ act: null, step: `pragma wal_checkpoint(passive)#${count}${when}` })),
);

/** Every step of every act, as this program takes them today: before it, and when it has just begun. */
export async function listPlaces(): Promise<readonly Place[]> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'drift-crash-'));
  const traceFile = join(dataDirectory, 'trace');
  const server = await startCrashServer({ dataDirectory, as: 'alone', env: { CRASH_TRACE_FILE: traceFile } });
  try {
    const pusher = new Pusher('crash/trace', new SeededRandom(1));
    pusher.connect(portOf(server));
    // What only a first request does (directories, a login) is not what most requests are killed at.
    for (const act of ACTS) await act.run(pusher, {});
    for (const [number, act] of ACTS.entries()) await act.run(pusher, { 'x-crash-trace': String(number) });
    pusher.close();
    const places = readFileSync(traceFile, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t'))
      .flatMap(([number, step = '']) =>
        (BEGUN.test(step) ? ['', '~'] : ['']).map((when) => ({
          act: ACTS[Number(number)] ?? null,
          step: `${step}${when}`,
        })),
      );
    return [...places, ...CHECKPOINTS];
  } catch (error) {
    throw new Error(`the registry wrote:\n${await server.killGroup()}`, { cause: error });
  } finally {
    await server.killGroup();
    rmSync(dataDirectory, { recursive: true, force: true });
  }
}

/** One data directory, on which registries are killed one after the other. */
export class CrashLane implements AsyncDisposable {
  readonly #dataDirectory = mkdtempSync(join(tmpdir(), 'drift-crash-'));
  readonly #random: SeededRandom;
  readonly #pushers: readonly Pusher[];
  #server: CrashServer | null = null;
  #starts = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
    this.#pushers = Array.from(
      { length: PUSHERS },
      (_, number) => new Pusher(`crash/p${number}`, new SeededRandom(random.integer(2 ** 31))),
    );
  }

  /** Starts, checks what the last kill left, and kills there under load. True when it was exactly there. */
  async killAt({ act, step }: Place): Promise<boolean> {
    try {
      const server = await this.#start(act === null ? { CRASH_AT: step } : {});
      // A step that needs no request may come up at any time, also before there is anybody to ask.
      if (act === null && server.port === null) return true;
      for (const pusher of this.#pushers) pusher.connect(portOf(server, await outputOf(server)));
      if (!(await this.#survivesCheck(act))) return true;
      const [victim, ...others] = this.#pushers as [Pusher, ...Pusher[]];
      const load = [...others, ...(act === null ? [victim] : [])].map((pusher) => pushUntilCut(pusher));
      const patience = setTimeout(() => void server.killGroup(), PATIENCE_MILLISECONDS);
      const exactly = act === null ? await endsByItself(server) : await isCutIn(act, victim, step);
      clearTimeout(patience);
      await server.killGroup();
      await Promise.all(load);
      return exactly;
    } catch (error) {
      const where = `start ${this.#starts}, ${act?.name ?? 'no request'}: ${step}`;
      const wasOver = this.#server?.isOver();
      const output = await this.#server?.killGroup();
      throw new Error(`${where}: ${String(error)} (over: ${wasOver})\n${output}`, { cause: error });
    }
  }

  /** Everything ever acknowledged is there, nothing else is, and what the kills left goes away. */
  async checkTheEnd(): Promise<void> {
    const server = await this.#start({});
    for (const pusher of this.#pushers) pusher.connect(portOf(server, await outputOf(server)));
    await this.#check(Number.POSITIVE_INFINITY);
    await server.killGroup();
    await checkLeftovers(this.#dataDirectory);
    await checkFsck(this.#dataDirectory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.killGroup();
    for (const pusher of this.#pushers) pusher.close();
    rmSync(this.#dataDirectory, { recursive: true, force: true });
  }

  async #start(env: Readonly<Record<string, string>>): Promise<CrashServer> {
    this.#starts += 1;
    const as = this.#starts % FAMILY_EVERY === 0 ? 'family' : 'alone';
    this.#server = await startCrashServer({ dataDirectory: this.#dataDirectory, as, env });
    return this.#server;
  }

  /** False when a step that needs no request, a checkpoint, came up while the last kill was still looked at. */
  async #survivesCheck(act: Act | null): Promise<boolean> {
    try {
      await this.#check(SAMPLE);
      return true;
    } catch (error) {
      if (act !== null || !isCut(error)) throw error;
      await Promise.race([this.#server?.ended, sleep(PATIENCE_MILLISECONDS, undefined, { ref: false })]);
      if (this.#server?.isOver() !== true) throw error;
      return false;
    }
  }

  async #check(sample: number): Promise<void> {
    for (const pusher of this.#pushers) {
      const { expected } = pusher;
      const all = this.#random.shuffled(expected.keys);
      const keys = new Set([...expected.unsure, ...all.slice(0, sample)]);
      expected.settle(await pusher.readBack([...keys]));
      const tags = expected.keys.filter((key) => key.startsWith('tag ') && expected.sure(key) !== null);
      const names = tags.map((key) => key.split(' ')[2] ?? '').sort();
      assert.deepEqual([...(await pusher.listedTags())].sort(), names, 'tags/list');
    }
    // Whoever died holding an upload holds it for some seconds more: not after every kill.
    if (this.#starts % RESUME_EVERY === 0 || sample > SAMPLE) {
      await Promise.all(this.#pushers.map((pusher) => pusher.resumeUploads()));
    }
  }
}

/** True when the registry died under the armed request, which is all that kills it meanwhile. */
async function isCutIn(act: Act, victim: Pusher, step: string): Promise<boolean> {
  try {
    await act.run(victim, { 'x-crash-at': step });
    return false;
  } catch (error) {
    if (!isCut(error)) throw error;
    return true;
  }
}

async function endsByItself(server: CrashServer): Promise<boolean> {
  await server.ended;
  return true;
}

async function outputOf(server: CrashServer): Promise<string> {
  return server.port === null ? server.ended : '';
}

function portOf(server: CrashServer, output = ''): number {
  if (server.port === null) throw new Error(`the registry did not start:\n${output}`);
  return server.port;
}

/** Kills a first start at each of its steps; the next start must work. How many steps there were. */
export async function killStarts(random: SeededRandom, startsMax: number): Promise<number> {
  const steps = await listStartSteps();
  const chosen = random.shuffled(steps).slice(0, startsMax);
  for (const step of chosen) {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'drift-crash-'));
    const killed = await startCrashServer({ dataDirectory, as: 'alone', env: { CRASH_AT: step } });
    await killed.killGroup();
    const server = await startCrashServer({ dataDirectory, as: 'alone' });
    const pusher = new Pusher('crash/start', new SeededRandom(1));
    try {
      pusher.connect(portOf(server, await outputOf(server)));
      await pusher.pushManifest(await pusher.newManifest(), { inPath: 'first', tags: [] });
      pusher.expected.settle(await pusher.readBack(pusher.expected.keys));
    } catch (error) {
      throw new Error(`a start killed at ${step}: ${String(error)}`, { cause: error });
    } finally {
      pusher.close();
      await server.killGroup();
    }
    await checkLeftovers(dataDirectory);
    rmSync(dataDirectory, { recursive: true, force: true });
  }
  return steps.length;
}

async function listStartSteps(): Promise<readonly string[]> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'drift-crash-'));
  const traceFile = join(dataDirectory, 'trace');
  const env = { CRASH_TRACE_FILE: traceFile, CRASH_TRACE_ID: 'start' };
  const server = await startCrashServer({ dataDirectory, as: 'alone', env });
  const lines = readFileSync(traceFile, 'utf8').trimEnd().split('\n');
  await server.killGroup();
  rmSync(dataDirectory, { recursive: true, force: true });
  return lines.map((line) => line.split('\t')[1] ?? '');
}
