import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A running server of a benchmark. Its log goes to a file, as a service's does. */
export interface Server {
  readonly name: string;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Of the first process. */
  readonly pid: number;
  readonly directory: string;
  /** From the start of its first process to its first answer. */
  readonly startSeconds: number;
  /** What requests for these repositories have to carry. Peers come as they are: without authentication. */
  authorize(repositories: readonly string[]): Promise<Readonly<Record<string, string>>>;
  stop(): Promise<void>;
}

export interface Launch {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly directory: string;
  readonly port: number;
  readonly env?: Readonly<Record<string, string>>;
  /** The directory stays when the server stops: somebody else's data. */
  readonly keepsDirectory?: boolean;
}

const START_MILLISECONDS_MAX = 30_000;
const POLL_MILLISECONDS = 10;

export function newDirectory(name: string): string {
  return mkdtempSync(join(tmpdir(), `drift-bench-${name}-`));
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Starts the program; resolves when it answers HTTP. */
export async function launch(options: Launch): Promise<Omit<Server, 'authorize'>> {
  const { name, directory, port } = options;
  const logFile = join(directory, 'log');
  const log = openSync(logFile, 'a');
  const start = performance.now();
  const child = spawn(options.command, options.args, {
    cwd: directory,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', log, log],
  });
  const url = `http://127.0.0.1:${port}`;
  const deadline = start + START_MILLISECONDS_MAX;
  while (!(await answers(url))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await end(child);
      throw new Error(`${name} did not start:\n${readFileSync(logFile, 'utf8')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
  const startSeconds = (performance.now() - start) / 1000;
  return {
    name,
    url,
    pid: child.pid ?? 0,
    directory,
    startSeconds,
    async stop() {
      await end(child);
      if (options.keepsDirectory !== true) rmSync(directory, { recursive: true, force: true });
    },
  };
}

export async function withServers<T>(
  starts: readonly (() => Promise<Server>)[],
  use: (servers: readonly Server[]) => Promise<T>,
): Promise<T> {
  const servers: Server[] = [];
  try {
    for (const start of starts) servers.push(await start());
    return await use(servers);
  } finally {
    for (const server of servers) await server.stop();
  }
}

export const nobody: Server['authorize'] = async () => ({});

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/v2/`);
    await response.arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}
