import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_MILLISECONDS_MAX = 60_000;
const ASK_EVERY_MILLISECONDS = 30;
const LOG_CHARACTERS_SHOWN = 2_000;

export interface ServiceOptions {
  readonly name: string;
  /** The program and its arguments, once its folder is known. */
  readonly command: (home: string) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
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
    chmodSync(this.home, 0o755);
    process.once('exit', this.#removeAtExit);
  }

  /** Resolves when it answers; throws with the end of its log when it does not. */
  async start(): Promise<void> {
    const log = join(this.home, 'log');
    const output = openSync(log, 'a');
    // A group of its own, so that a kill takes all of its processes at once.
    const child = spawn(
      '/usr/bin/env',
      ['setpriv', '--pdeathsig=KILL', '--', ...this.#options.command(this.home)],
      {
        cwd: this.home,
        detached: true,
        stdio: ['ignore', output, output],
        env: { PATH: process.env.PATH ?? '', HOME: this.home, ...this.#options.env },
      },
    );
    closeSync(output);
    child.once('error', () => {});
    this.#child = child;
    const deadline = Date.now() + START_MILLISECONDS_MAX;
    while (!(await this.#options.answers().catch(() => false))) {
      const hasEnded = child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
      if (hasEnded || Date.now() > deadline) {
        const written = readFileSync(log, 'utf8').slice(-LOG_CHARACTERS_SHOWN);
        await this[Symbol.asyncDispose]();
        throw new Error(`${this.#options.name} does not start:\n${written}`);
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MILLISECONDS));
    }
  }

  /** As an operator would. Keeps the files. */
  async stop(): Promise<void> {
    await this.#end((pid) => process.kill(pid, 'SIGTERM'));
  }

  /** SIGKILL to every process of it: as if the machine had lost it. Keeps the files. */
  async kill(): Promise<void> {
    await this.#end((pid) => process.kill(-pid, 'SIGKILL'));
  }

  /** From now until `resume` it takes connections and answers none. Resolves when each of its threads stands still. */
  async pause(): Promise<void> {
    const pid = this.#pid();
    process.kill(-pid, 'SIGSTOP');
    while (!isStopped(pid)) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  resume(): void {
    process.kill(-this.#pid(), 'SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    process.off('exit', this.#removeAtExit);
    await this.kill();
    rmSync(this.home, { recursive: true, force: true });
  }

  readonly #removeAtExit = (): void => {
    const pid = this.#child?.pid;
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
    rmSync(this.home, { recursive: true, force: true });
  };

  #pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.#options.name} does not run`);
    return pid;
  }

  async #end(signal: (pid: number) => void): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    signal(child.pid);
    await ended;
  }
}

/** The signal reaches the threads of a process one after the other. */
function isStopped(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    // The state stands behind the name, which may itself hold spaces and parentheses.
    return status.slice(status.lastIndexOf(')') + 2).startsWith('T');
  });
}
