import { type ChildProcess, fork } from 'node:child_process';
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import { mergeSnapshots } from '../telemetry/metrics.ts';
import type { Logger, Metrics } from '../telemetry/telemetry.ts';
import { ChildHandle } from './child-handle.ts';
import { CrashBudget } from './crash-budget.ts';
import type { Addresses, FromChild, Reloadable, StartOrder, StartupFailure } from './ipc.ts';

/** Role of the process for background jobs. */
const JOBS = 'jobs';
/** Beyond the drain, for closing files and databases; then children are killed. */
const STOP_GRACE_MILLISECONDS = 10_000;

/**
 * The nursery of each heap, in MiB. A smaller one is emptied so often that it costs a fifth of a pull; what it grows to
 * during the start is given back (`giveBackMemoryOnceSettled`).
 */
const HEAP_ARGUMENTS = ['--max-semi-space-size=16'];

/**
 * Threads of a worker for calls on files. A sync holds one for as long as the device takes, and with node's four all of them
 * wait for the device while opening and reading files waits for them.
 */
const FILE_THREADS = '16';

export interface FamilyOptions {
  readonly workers: number;
  /** Without one the worker does the jobs. */
  readonly jobsProcess: boolean;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Asked at each fork: a child that is replaced starts with what was reloaded meanwhile. */
  readonly order: () => Omit<StartOrder, 'kind' | 'role' | 'runsJobs'>;
  /** A child cannot start. */
  readonly onFailure: (failure: StartupFailure) => void;
  readonly onCrashLoop: (sentence: string) => void;
}

/** The children of the primary: started, replaced when they crash, asked, and stopped together. */
export class Family {
  readonly #options: FamilyOptions;
  readonly #children = new Set<ChildHandle>();
  readonly #budget = new CrashBudget();
  readonly #ready = Promise.withResolvers<Addresses>();
  #questionId = 0;
  #stopping = false;
  #everReady = false;

  constructor(options: FamilyOptions) {
    this.#options = options;
    cluster.setupPrimary({
      exec: fileURLToPath(new URL('./worker.ts', import.meta.url)),
      serialization: 'advanced',
      execArgv: [...process.execArgv, ...HEAP_ARGUMENTS],
    });
  }

  /** Resolves when every child does its work. */
  start(): Promise<Addresses> {
    for (let number = 1; number <= this.#options.workers; number += 1) this.#forkWorker(`worker-${number}`);
    if (this.#options.jobsProcess) this.#forkJobs();
    return this.#ready.promise;
  }

  /** What went wrong, per child; empty when all have taken it. */
  async reload(next: Reloadable): Promise<readonly string[]> {
    this.#questionId += 1;
    const id = this.#questionId;
    const answers = await Promise.all(
      [...this.#children].map(async (child) => {
        const answer = await child.ask({ kind: 'reload', id, ...next });
        // One that ended is replaced by one that starts with it.
        return answer?.kind === 'reloaded' && answer.problem !== null
          ? `${child.role}: ${answer.problem}`
          : null;
      }),
    );
    return answers.filter((problem) => problem !== null);
  }

  async stop(drainMilliseconds: number): Promise<void> {
    this.#stopping = true;
    const since = performance.now();
    const deadline = setTimeout(() => this.kill(), drainMilliseconds + STOP_GRACE_MILLISECONDS);
    // The jobs process goes last: what the workers still take may be its work.
    await this.#stopChildren((child) => child.role !== JOBS, drainMilliseconds);
    await this.#stopChildren(
      (child) => child.role === JOBS,
      Math.max(0, drainMilliseconds - (performance.now() - since)),
    );
    clearTimeout(deadline);
  }

  async #stopChildren(chosen: (child: ChildHandle) => boolean, drainMilliseconds: number): Promise<void> {
    const children = [...this.#children].filter(chosen);
    const ended = children.map(
      (child) => new Promise<void>((resolve) => child.process.once('exit', () => resolve())),
    );
    for (const child of children)
      child.send({ kind: 'stop', drainMilliseconds: Math.round(drainMilliseconds) });
    await Promise.all(ended);
  }

  kill(): void {
    this.#stopping = true;
    for (const child of this.#children) child.process.kill('SIGKILL');
  }

  #forkWorker(role: string): void {
    const env = { UV_THREADPOOL_SIZE: process.env.UV_THREADPOOL_SIZE ?? FILE_THREADS };
    this.#adopt(role, cluster.fork(env).process, () => this.#forkWorker(role));
  }

  #forkJobs(): void {
    const script = fileURLToPath(new URL('./jobs-process.ts', import.meta.url));
    const execArgv = [...process.execArgv, ...HEAP_ARGUMENTS];
    this.#adopt(JOBS, fork(script, [], { execArgv, serialization: 'advanced' }), () => this.#forkJobs());
  }

  #adopt(role: string, process: ChildProcess, replace: () => void): void {
    const child = new ChildHandle(role, process);
    this.#children.add(child);
    process.on('message', (message) => this.#receive(child, message as FromChild));
    process.on('error', (error) => this.#options.log.error({ err: error, child: role }, 'child process'));
    process.once('exit', (code, signal) => this.#onExit(child, { code, signal }, replace));
    child.send({ kind: 'start', role, runsJobs: !this.#options.jobsProcess, ...this.#options.order() });
  }

  #receive(child: ChildHandle, message: FromChild): void {
    switch (message.kind) {
      case 'ready':
        this.#onReady(child, message.addresses);
        return;
      case 'failed':
        this.#stopping = true;
        this.#options.onFailure(message.failure);
        return;
      case 'reloaded':
      case 'snapshot':
        child.takeAnswer(message);
        return;
      case 'exposition':
        void this.#answerExposition(child, message.id);
        return;
      default:
        message satisfies never;
    }
  }

  #addresses: Addresses | null = null;

  #onReady(child: ChildHandle, addresses: Addresses | null): void {
    child.isReady = true;
    this.#addresses ??= addresses;
    const { workers, jobsProcess } = this.#options;
    const expected = workers + (jobsProcess ? 1 : 0);
    if (this.#everReady) {
      this.#options.log.info({ child: child.role }, 'replacement is ready');
    } else if ([...this.#children].filter(({ isReady }) => isReady).length === expected && this.#addresses) {
      this.#everReady = true;
      this.#ready.resolve(this.#addresses);
    }
  }

  #onExit(
    child: ChildHandle,
    how: { readonly code: number | null; readonly signal: string | null },
    replace: () => void,
  ): void {
    this.#children.delete(child);
    if (this.#stopping) {
      this.#options.log.debug({ child: child.role, ...how }, 'a child process ended');
      return;
    }
    this.#options.log.error({ child: child.role, ...how }, 'a child process crashed; it is replaced');
    if (this.#budget.spend(Date.now())) {
      replace();
      return;
    }
    this.#stopping = true;
    this.#options.onCrashLoop(this.#budget.sentence);
  }

  async #answerExposition(child: ChildHandle, id: number): Promise<void> {
    const text = await this.exposition();
    child.send({ kind: 'exposition', id, text });
  }

  /** The metrics of all processes, in Prometheus' form. */
  async exposition(): Promise<string> {
    this.#questionId += 1;
    const id = this.#questionId;
    const answers = await Promise.all(
      [...this.#children]
        .filter(({ isReady }) => isReady)
        .map((child) => child.ask({ kind: 'snapshot', id })),
    );
    const snapshots = answers.filter((answer) => answer?.kind === 'snapshot').map(({ snapshot }) => snapshot);
    return mergeSnapshots([await this.#options.metrics.snapshot(), ...snapshots]);
  }
}
