import { type ChildProcess, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PROGRAM } from '../harness/spawn-drift.ts';
import { ADMIN } from '../v2/v2-client.ts';

export interface CrashServerOptions {
  readonly dataDirectory: string;
  /** `family`: `drift serve` with its processes; `alone`: one process, which starts sooner. */
  readonly as: 'family' | 'alone';
  readonly env?: Readonly<Record<string, string>>;
}

/** A registry that leads a process group of its own, so that all of it can be killed in one call. */
export interface CrashServer {
  /** Null when it was killed before it listened. */
  readonly port: number | null;
  /** Of the primary, or the only process. */
  readonly pid: number;
  /** Resolves when no process of the group is left; with what the server wrote. */
  readonly ended: Promise<string>;
  isOver(): boolean;
  killGroup(): Promise<string>;
  stop(): Promise<string>;
}

const STEPS = new URL('./steps.ts', import.meta.url).href;
const ALONE = new URL('./serve-alone.ts', import.meta.url).pathname;
const START_MILLISECONDS_MAX = 20_000;

export async function startCrashServer(options: CrashServerOptions): Promise<CrashServer> {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(DRIFT_|RUST_LOG$|NODE_TEST_CONTEXT$|NODE_OPTIONS$)/.test(name),
  );
  const args = options.as === 'family' ? [PROGRAM, 'serve'] : [ALONE];
  const child = spawn(process.execPath, args, {
    cwd: options.dataDirectory,
    detached: true,
    env: {
      ...Object.fromEntries(own),
      NODE_OPTIONS: `--import=${STEPS}`,
      NODE_COMPILE_CACHE: join(tmpdir(), 'drift-crash-compile-cache'),
      DRIFT_BIND_ADDR: '127.0.0.1:0',
      DRIFT_UI_ADDR: '127.0.0.1:0',
      DRIFT_FS_ROOT: options.dataDirectory,
      DRIFT_STORAGE_RESERVE: '0',
      DRIFT_WORKERS: '2',
      DRIFT_LOG: 'warn,process=info',
      DRIFT_LOG_FORMAT: 'json',
      DRIFT_USERS: `${ADMIN.name}:${ADMIN.password}`,
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return follow(child);
}

async function follow(child: ChildProcess): Promise<CrashServer> {
  const pid = child.pid ?? 0;
  const lines: string[] = [];
  let over = false;
  const ended = new Promise<string>((resolve) => {
    // `close` comes when the last process that holds the output has ended.
    child.once('close', (code, name) => {
      over = true;
      lines.push(`ended: ${code ?? name}`);
      resolve(lines.join('\n'));
    });
  });
  const signal = (name: NodeJS.Signals, to: number): Promise<string> => {
    try {
      if (!over) process.kill(to, name);
    } catch {
      // It ended a moment ago.
    }
    return ended;
  };
  const listening = new Promise<number | null>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line);
        const registry = /"registry":"http:\/\/127\.0\.0\.1:(\d+)"/.exec(line)?.[1];
        if (registry !== undefined) resolve(Number(registry));
      });
    }
    void ended.then(() => resolve(null));
  });
  const deadline = setTimeout(() => void signal('SIGKILL', -pid), START_MILLISECONDS_MAX);
  const port = await listening;
  clearTimeout(deadline);
  return {
    port,
    pid,
    ended,
    isOver: () => over,
    killGroup: () => signal('SIGKILL', -pid),
    stop: () => signal('SIGTERM', pid),
  };
}
