import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { requireTool } from '../scripts/tools.ts';
import type { Numbers } from './measure.ts';
import { cpuSecondsOf } from './servers/process-tree.ts';
import type { Server } from './servers/server.ts';

const run = promisify(execFile);
const UNITS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

export interface Load {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly connections: number;
  readonly seconds: number;
}

/** GETs as fast as the server answers them. Throws when one of them fails. */
export async function getManyTimes(server: Server, load: Load): Promise<Numbers> {
  const headers = Object.entries(load.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const amount = ['-t', '2', '-c', String(load.connections), '-d', `${load.seconds}s`];
  const before = cpuSecondsOf(server.pid);
  const { stdout } = await run(requireTool('wrk'), [
    ...amount,
    '--latency',
    ...headers,
    `${server.url}${load.path}`,
  ]);
  const cpuSeconds = cpuSecondsOf(server.pid) - before;
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`${server.name}: ${stdout}`);
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1]);
  return {
    'requests/s': Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]),
    'CPU µs/request': (cpuSeconds * 1e6) / requests,
    'p99 ms': milliseconds(/99%\s+([\d.]+)(us|ms|s|m)/.exec(stdout)),
  };
}

function milliseconds(match: RegExpExecArray | null): number {
  return Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN);
}
