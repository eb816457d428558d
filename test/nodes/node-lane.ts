import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBlobStore } from '../../src/blobs/open-blob-store.ts';
import { readConfig } from '../../src/config/read.ts';
import { openMetaStore } from '../../src/meta/open-meta-store.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { ACTS, isCut } from '../crash/acts.ts';
import { type CrashServer, startCrashServer } from '../crash/crash-server.ts';
import { checkFsck, checkLeftoversOf } from '../crash/leftovers.ts';
import { Pusher } from '../crash/pusher.ts';
import { SeededRandom } from '../crash/seeded-random.ts';
import { startMinio } from '../harness/minio.ts';
import { type Postgres, startPostgres } from '../harness/postgres.ts';
import type { S3Service } from '../harness/s3-service.ts';
import { storeEnvironment } from '../harness/stack.ts';

const NODES = 3;
const PUSHERS = 6;
/** Names that a pusher reads back between two acts, through whatever node it is at. */
const SAMPLE = 2;
/** What a node that died had asked of the database has been done after this, or never will be. */
const LAST_WORDS_MILLISECONDS = 500;
const PAUSE_MILLISECONDS = 50;
const LIFE_MILLISECONDS_MAX = 1_000;
const RECOVERY_MILLISECONDS_MAX = 60_000;

/** Three nodes on one PostgreSQL and one bucket, each killed again and again, and the database too, under load. */
export class NodeLane implements AsyncDisposable {
  readonly #random: SeededRandom;
  readonly #directory = mkdtempSync(join(tmpdir(), 'drift-nodes-'));
  readonly #pushers: readonly Pusher[];
  readonly #nodes: (CrashServer | null)[] = Array.from({ length: NODES }, () => null);
  #postgres: Postgres | null = null;
  #minio: S3Service | null = null;
  #env: Readonly<Record<string, string>> = {};
  #isOver = false;

  constructor(random: SeededRandom) {
    this.#random = random;
    const pusher = (_: unknown, number: number) =>
      new Pusher(`nodes/p${number}`, new SeededRandom(random.integer(2 ** 31)), { mayBeAway: true });
    this.#pushers = Array.from({ length: PUSHERS }, pusher);
  }

  async start(): Promise<void> {
    this.#postgres = await startPostgres();
    this.#minio = await startMinio();
    const databaseUrl = await this.#postgres.createDatabase();
    const bucket = await this.#minio.createBucket();
    this.#env = {
      ...storeEnvironment({ databaseUrl, s3: { ...this.#minio, bucket } }),
      DRIFT_DATABASE_PARTITIONS: '4',
    };
    await Promise.all(this.#nodes.map((_, at) => this.#startNode(at)));
  }

  /** Returns how many acts were done whole while so many processes died. */
  async killUnderLoad(kills: { readonly nodes: number; readonly database: number }): Promise<number> {
    let acts = 0;
    const load = this.#pushers.map(async (pusher) => {
      while (!this.#isOver) if (await this.#act(pusher)) acts += 1;
    });
    const killers = this.#nodes.map(async (_, at) => {
      const share = Math.ceil((kills.nodes - at) / NODES);
      for (let killed = 0; killed < share && !this.#isOver; killed += 1) {
        await sleep(this.#random.integer(LIFE_MILLISECONDS_MAX));
        await this.#nodes[at]?.killGroup();
        this.#nodes[at] = null;
        await this.#startNode(at);
      }
    });
    const database = async (): Promise<void> => {
      for (let killed = 0; killed < kills.database && !this.#isOver; killed += 1) {
        await sleep(this.#random.integer(4 * LIFE_MILLISECONDS_MAX));
        await this.#postgres?.kill();
        await sleep(this.#random.integer(LIFE_MILLISECONDS_MAX));
        await this.#postgres?.start();
      }
    };
    const killing = Promise.all([...killers, database()]).finally(() => {
      this.#isOver = true;
    });
    try {
      await Promise.all([killing, ...load]);
    } finally {
      // Whatever failed, nothing goes on behind the back of what follows.
      this.#isOver = true;
      await Promise.allSettled([killing, ...load]);
    }
    return acts;
  }

  /** Everything ever acknowledged is there, through every node, and what the kills left goes away. */
  async checkTheEnd(): Promise<void> {
    await sleep(LAST_WORDS_MILLISECONDS);
    for (const node of this.#nodes) {
      for (const pusher of this.#pushers) {
        pusher.connect(node?.port ?? 0);
        const { expected } = pusher;
        await untilThere(async () => expected.settle(await pusher.readBack(expected.keys)));
      }
    }
    await Promise.all(this.#pushers.map((pusher) => pusher.resumeUploads()));
    for (const node of this.#nodes) await node?.killGroup();
    await this.#checkLeftovers();
    await checkFsck(this.#directory, { env: this.#env });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    for (const node of this.#nodes) await node?.killGroup();
    for (const pusher of this.#pushers) pusher.close();
    await this.#minio?.[Symbol.asyncDispose]();
    await this.#postgres?.[Symbol.asyncDispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** False when it was cut off; then the pusher knows again what is there. */
  async #act(pusher: Pusher): Promise<boolean> {
    const { expected, random } = pusher;
    const ports = this.#nodes.flatMap((node) => node?.port ?? []);
    if (ports.length === 0) {
      await sleep(PAUSE_MILLISECONDS);
      return false;
    }
    pusher.connect(random.pick(ports));
    try {
      const settled = expected.keys.filter((key) => expected.of(key).size === 1);
      expected.settle(
        await pusher.readBack([...expected.unsure, ...random.shuffled(settled).slice(0, SAMPLE)]),
      );
      await random.pick(ACTS).run(pusher, {});
      return true;
    } catch (error) {
      if (!isCut(error)) throw error;
      await sleep(LAST_WORDS_MILLISECONDS);
      return false;
    }
  }

  async #startNode(at: number): Promise<void> {
    const dataDirectory = mkdtempSync(join(this.#directory, 'node-'));
    // The hooks of single steps stay out: here the clock says when.
    const env = { ...this.#env, NODE_OPTIONS: '' };
    const deadline = Date.now() + RECOVERY_MILLISECONDS_MAX;
    for (;;) {
      const node = await startCrashServer({ dataDirectory, as: 'alone', env });
      if (node.port !== null) {
        this.#nodes[at] = node;
        return;
      }
      // A start that finds the database dead ends with a sentence: a service manager would try again.
      const output = await node.ended;
      if (Date.now() > deadline) throw new Error(`node ${at} does not start:\n${output}`);
      await sleep(PAUSE_MILLISECONDS);
    }
  }

  async #checkLeftovers(): Promise<void> {
    const { config } = readConfig({ env: this.#env, flags: {}, cwd: this.#directory });
    const meta = await openMetaStore(config, { mode: 'serve' });
    const blobs = await openBlobStore({ metrics: createMetrics({ version: 'test' }) }, config);
    try {
      await checkLeftoversOf({ meta, blobs });
    } finally {
      await blobs.close();
      await meta.close();
    }
  }
}

async function untilThere(work: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + RECOVERY_MILLISECONDS_MAX;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      if (!isCut(error) || Date.now() > deadline) throw error;
      await sleep(PAUSE_MILLISECONDS);
    }
  }
}
