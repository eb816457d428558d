import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { childrenOf, processTree } from './process-tree.ts';

const START_MILLISECONDS_MAX = 60_000;
const ASK_EVERY_MILLISECONDS = 30;
const LOG_CHARACTERS_SHOWN = 2_000;
const REMOVE_TRIES_MAX = 5;

export interface ServiceOptions {
  readonly name: string;
  /** The program and its arguments, once its folder is known. */
  readonly command: (home: string) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** For a service that refuses to run as root: when we are, it runs as this user and owns its folder. */
  readonly user?: string;
  /** What an operator would send to end it. Default: SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** Asks the service itself; false or an exception: not yet. */
  readonly answers: () => Promise<boolean>;
}

/**
 * A program that tests use as a service, with all of its files in a folder of its own. It can be killed and started again
 * on the same files, and it does not outlive the process that started it, however that one ends.
 */
export class Service implements AsyncDisposable {
  readonly home: string;
  readonly #options: ServiceOptions;
  #child: ChildProcess | null = null;
  #isDisposed = false;

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.home = mkdtempSync(join(tmpdir(), `drift-${options.name}-`));
    if (options.user !== undefined) handOver(this.home, options.user);
    process.once('exit', this.#removeAtExit);
  }

  /** Resolves when it answers; throws with the end of its log when it does not. */
  async start(): Promise<void> {
    const log = join(this.home, 'log');
    const output = openSync(log, 'a');
    // A group of its own: Ctrl-C at the tests does not reach it.
    const command = this.#options.command(this.home);
    const child = spawn('/usr/bin/env', [...asService(this.#options.user), ...command], {
      cwd: this.home,
      detached: true,
      stdio: ['ignore', output, output],
      env: { PATH: process.env.PATH ?? '', HOME: this.home, ...this.#options.env },
    });
    closeSync(output);
    child.once('error', () => {});
    // Nobody has to end it: it goes when its tests are through.
    child.unref();
    this.#child = child;
    const deadline = Date.now() + START_MILLISECONDS_MAX;
    while (!(await this.#options.answers().catch(() => false))) {
      if (hasEnded(child) || Date.now() > deadline) {
        const written = readFileSync(log, 'utf8').slice(-LOG_CHARACTERS_SHOWN);
        await this[Symbol.asyncDispose]();
        throw new Error(`${this.#options.name} does not start:\n${written}`);
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MILLISECONDS));
    }
  }

  /** As an operator would. Keeps the files. */
  async stop(): Promise<void> {
    await this.#end((pid) => process.kill(pid, this.#options.stopSignal ?? 'SIGTERM'));
  }

  /** SIGKILL to every process of it: as if the machine had lost it. Keeps the files. */
  async kill(): Promise<void> {
    await this.#end(killAll);
  }

  /** From now until `resume` it takes connections and answers none. */
  pause(): void {
    stopAll(this.#pid());
  }

  resume(): void {
    for (const pid of processTree(this.#pid())) process.kill(pid, 'SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    process.off('exit', this.#removeAtExit);
    await this.kill();
    this.#removeFiles();
  }

  readonly #removeAtExit = (): void => {
    if (this.#child?.pid !== undefined && !hasEnded(this.#child)) killAll(this.#child.pid);
    this.#removeFiles();
  };

  #removeFiles(): void {
    // Processes that were just killed may still be writing into it.
    rmSync(this.home, { recursive: true, force: true, maxRetries: REMOVE_TRIES_MAX });
  }

  #pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.#options.name} does not run`);
    return pid;
  }

  async #end(signal: (pid: number) => void): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child?.pid === undefined || hasEnded(child)) return;
    const ended = once(child, 'exit');
    const all = processTree(child.pid);
    child.ref();
    signal(child.pid);
    await ended;
    while (all.some((pid) => !'ZX'.includes(stateOf(pid))))
      await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** The program that runs another one as this user, and not beyond the life of this process. */
export function asService(user: string | undefined): string[] {
  const isRoot = userInfo().uid === 0;
  const become = isRoot && user !== undefined ? [`--reuid=${user}`, '--regid=nogroup', '--clear-groups'] : [];
  return ['setpriv', '--pdeathsig=KILL', ...become, '--'];
}

/** Gives a directory to the user that a service runs as. */
export function handOver(directory: string, user: string): void {
  chmodSync(directory, 0o700);
  if (userInfo().uid === 0) execFileSync('chown', ['-R', `${user}:nogroup`, directory]);
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** From the first to the last: who stands still makes no more of them. PostgreSQL gives each a group of its own. */
function stopAll(pid: number): void {
  signalOne(pid, 'SIGSTOP');
  while (!isStopped(pid));
  for (const child of childrenOf(pid)) stopAll(child);
}

function killAll(pid: number): void {
  stopAll(pid);
  // The last first: a parent that saw them end would end the others in good order.
  for (const each of processTree(pid).toReversed()) signalOne(each, 'SIGKILL');
}

function signalOne(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It has ended by itself.
    if (stateOf(pid) !== 'X') throw error;
  }
}

/** The signal reaches the threads of a process one after the other. */
function isStopped(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((thread) => 'TZX'.includes(stateOf(pid, Number(thread))));
}

/** One letter, as `ps` shows it; X for one that is gone. */
function stateOf(pid: number, thread = pid): string {
  try {
    const status = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    // The state stands behind the name, which may itself hold spaces and parentheses.
    return status.slice(status.lastIndexOf(')') + 2, status.lastIndexOf(')') + 3);
  } catch {
    return 'X';
  }
}
