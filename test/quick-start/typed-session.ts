import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { systemPath } from '../harness/system-path.ts';

/** A line typed into a shell, in a process group of its own as a terminal would make it. */
export interface TypedLine {
  /** What it wrote so far, both streams. */
  readonly output: () => string;
  /** Resolves when the output matches; rejects with the output when the line ends, or takes too long, before that. */
  waitFor(pattern: RegExp, secondsMax: number): Promise<void>;
  /** Ctrl-C: SIGINT to the whole group. Resolves when nothing of the group is left. */
  interrupt(secondsMax: number): Promise<void>;
  /** Resident memory of all processes of the group together. */
  residentBytes(): number;
  /** Ends what is left, whatever happened before. */
  dispose(): void;
}

const POLL_MILLISECONDS = 50;

export function typeLine(line: string, directory: string): TypedLine {
  const child = spawn('sh', ['-c', line], {
    cwd: directory,
    detached: true,
    env: freshEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const group = child.pid ?? 0;
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
  }
  return {
    output: () => text,
    waitFor: async (pattern, secondsMax) => {
      const deadline = Date.now() + secondsMax * 1000;
      while (!pattern.test(text)) {
        if (hasEnded(child)) throw new Error(`"${line}" ended; it wrote:\n${text}`);
        if (Date.now() > deadline) throw new Error(`no ${pattern} after ${secondsMax} s:\n${text}`);
        await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
      }
    },
    interrupt: async (secondsMax) => {
      const deadline = Date.now() + secondsMax * 1000;
      process.kill(-group, 'SIGINT');
      while (processesOf(group).length > 0) {
        if (Date.now() > deadline) throw new Error(`still running ${secondsMax} s after Ctrl-C:\n${text}`);
        await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
      }
      if (!hasEnded(child)) await once(child, 'close');
    },
    residentBytes: () => processesOf(group).reduce((sum, pid) => sum + residentBytesOf(pid), 0),
    dispose: () => {
      if (processesOf(group).length > 0) process.kill(-group, 'SIGKILL');
    },
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** As a person who just cloned the repository has it: nothing of the npm that runs the tests, none of our settings. */
export function freshEnvironment(): Record<string, string | undefined> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(?:npm_|DRIFT_|RUST_LOG$|NODE_TEST_CONTEXT$|NODE_OPTIONS$|INIT_CWD$|CI$)/.test(name),
  );
  return { ...Object.fromEntries(inherited), PATH: systemPath() };
}

function processesOf(group: number): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    // proc(5): the command's name may hold anything, so what follows is counted from its last bracket.
    const stat = readProc(`/proc/${pid}/stat`);
    const [state, , processGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(processGroup) === group && state !== 'Z';
  });
}

function residentBytesOf(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readProc(`/proc/${pid}/status`))?.[1] ?? '0';
  return Number(kibibytes) * 1024;
}

/** Empty for a process that ended meanwhile. */
function readProc(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
