import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const PROGRAM = fileURLToPath(new URL('../../bin/drift.js', import.meta.url));

export interface SpawnOptions {
  /** Over a clean environment: two free ports, a fresh data directory, two workers. */
  readonly env?: Readonly<Record<string, string>>;
  /** Beside `serve`. */
  readonly args?: readonly string[];
  /** A command that runs it, with its arguments: `ip netns exec …`. */
  readonly within?: readonly string[];
  /** Data of an earlier run; it is then kept. */
  readonly dataDirectory?: string;
  /** Another version's `bin/drift.js`. */
  readonly program?: string;
}

export interface LogLine extends Readonly<Record<string, unknown>> {
  readonly msg: string;
}

/** `node bin/drift.js serve` as a real child process that is listening. */
export interface SpawnedDrift {
  /** `http://127.0.0.1:PORT`, without a trailing slash. */
  readonly registryUrl: string;
  readonly consoleUrl: string;
  /** Of the primary. */
  readonly pid: number;
  readonly dataDirectory: string;
  /** What it wrote so far: standard output and standard error, line by line. */
  readonly output: () => readonly string[];
  readonly logs: () => readonly LogLine[];
  /** Resolves with the first line of the log, old or new, for which `matches` is true. */
  waitForLog(matches: (line: LogLine) => boolean): Promise<LogLine>;
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM; resolves when it has ended, and removes its data unless they were given. */
  stop(): Promise<Ended>;
  /** SIGKILL to the primary; its children follow by themselves. */
  kill(): Promise<Ended>;
  readonly ended: Promise<Ended>;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
}

const LOG_MILLISECONDS_MAX = 60_000;

/** Rejects with what it wrote when it ends before it listens. */
export async function spawnDrift(options: SpawnOptions = {}): Promise<SpawnedDrift> {
  const dataDirectory = options.dataDirectory ?? mkdtempSync(join(tmpdir(), 'drift-data-'));
  const child = startProgram(['serve', ...(options.args ?? [])], {
    dataDirectory,
    env: options.env ?? {},
    within: options.within ?? [],
    ...(options.program === undefined ? {} : { program: options.program }),
  });
  const output = new Output(child);
  const removeData = (): void => {
    if (options.dataDirectory === undefined) rmSync(dataDirectory, { recursive: true, force: true });
  };
  let listening: LogLine;
  try {
    listening = await output.waitForLog((line) => line.msg === 'listening');
  } catch (error) {
    child.kill('SIGKILL');
    await output.ended;
    removeData();
    throw error;
  }
  const end = async (signal: NodeJS.Signals): Promise<Ended> => {
    child.kill(signal);
    const ended = await output.ended;
    removeData();
    return ended;
  };
  return {
    registryUrl: String(listening['registry']),
    consoleUrl: String(listening['console']),
    pid: child.pid ?? 0,
    dataDirectory,
    output: () => output.lines,
    logs: () => output.logs,
    waitForLog: (matches) => output.waitForLog(matches),
    signal: (signal) => void child.kill(signal),
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    ended: output.ended,
  };
}

export interface Finished extends Ended {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the program with these arguments until it ends by itself. */
export async function runDrift(
  args: readonly string[],
  options: { readonly dataDirectory: string; readonly env?: Readonly<Record<string, string>> },
): Promise<Finished> {
  const child = startProgram(args, { dataDirectory: options.dataDirectory, env: options.env ?? {} });
  const texts = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    texts.stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    texts.stderr += text;
  });
  const ended = await new Promise<Ended>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  return { ...ended, ...texts };
}

function startProgram(
  args: readonly string[],
  options: {
    readonly dataDirectory: string;
    readonly env: Readonly<Record<string, string>>;
    readonly within?: readonly string[];
    readonly program?: string;
  },
): ChildProcess {
  const own = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('DRIFT_') && name !== 'RUST_LOG' && name !== 'NODE_TEST_CONTEXT',
  );
  const [command = process.execPath, ...before] = options.within ?? [];
  const { program = PROGRAM } = options;
  const all = [...(before.length === 0 ? [] : [...before, process.execPath]), program, ...args];
  return spawn(command, all, {
    cwd: options.dataDirectory,
    env: {
      ...Object.fromEntries(own),
      DRIFT_BIND_ADDR: '127.0.0.1:0',
      DRIFT_UI_ADDR: '127.0.0.1:0',
      DRIFT_FS_ROOT: options.dataDirectory,
      DRIFT_STORAGE_RESERVE: '0',
      DRIFT_WORKERS: '2',
      DRIFT_LOG_FORMAT: 'json',
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

class Output {
  readonly lines: string[] = [];
  readonly logs: LogLine[] = [];
  readonly ended: Promise<Ended>;
  readonly #waiting = new Set<() => void>();
  #isOver = false;

  constructor(child: ChildProcess) {
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#take(line));
    }
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.#isOver = true;
        resolve({ code, signal });
        this.#wake();
      });
    });
  }

  async waitForLog(matches: (line: LogLine) => boolean): Promise<LogLine> {
    const deadline = AbortSignal.timeout(LOG_MILLISECONDS_MAX);
    deadline.addEventListener('abort', () => this.#wake(), { once: true });
    for (;;) {
      const found = this.logs.find(matches);
      if (found !== undefined) return found;
      if (this.#isOver || deadline.aborted) {
        const why = this.#isOver ? 'drift ended' : `no such line within ${LOG_MILLISECONDS_MAX} ms`;
        throw new Error(`${why}; it wrote:\n${this.lines.join('\n')}`);
      }
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
      });
    }
  }

  #take(line: string): void {
    this.lines.push(line);
    if (line.startsWith('{')) this.logs.push(JSON.parse(line) as LogLine);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
