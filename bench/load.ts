import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requireTool } from '../scripts/tools.ts';
import type { Numbers } from './measure.ts';
import { cpuSecondsOf } from './servers/process-tree.ts';
import type { Server } from './servers/server.ts';

const run = promisify(execFile);
const UNITS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

export interface Load {
  readonly path: string;
  /** Asked for after it, in turn; then it begins again. */
  readonly thenPaths?: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  readonly connections: number;
  readonly seconds: number;
  /** How long each connection rests before a request: 0, as fast as the server answers. */
  readonly restMilliseconds?: number;
}

/** GETs as fast as the server answers them, or with rests. Throws when one of them fails. */
export async function getManyTimes(server: Server, load: Load): Promise<Numbers> {
  const headers = Object.entries(load.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const amount = ['-t', '2', '-c', String(load.connections), '-d', `${load.seconds}s`];
  const before = cpuSecondsOf(server.pid);
  const script = scriptOf(server, load);
  const { stdout } = await run(requireTool('wrk'), [
    ...amount,
    '--latency',
    ...(script === null ? [] : ['-s', script]),
    ...headers,
    `${server.url}${load.path}`,
  ]);
  if (script !== null) rmSync(script);
  const cpuSeconds = cpuSecondsOf(server.pid) - before;
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`${server.name}: ${stdout}`);
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1]);
  return {
    'requests/s': Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]),
    'CPU µs/request': (cpuSeconds * 1e6) / requests,
    'p99 ms': milliseconds(/99%\s+([\d.]+)(us|ms|s|m)/.exec(stdout)),
  };
}

/** For wrk; null when the same request is sent again and again, without a rest. */
function scriptOf(server: Server, { path, thenPaths = [], restMilliseconds = 0 }: Load): string | null {
  if (thenPaths.length === 0 && restMilliseconds === 0) return null;
  const file = join(server.directory, 'load.lua');
  const list = [path, ...thenPaths].map((each) => JSON.stringify(each)).join(', ');
  writeFileSync(
    file,
    `local paths, requests, at = { ${list} }, {}, 0
     function init()
       for index, path in ipairs(paths) do requests[index] = wrk.format('GET', path) end
     end
     function request()
       at = at % #requests + 1
       return requests[at]
     end
     ${restMilliseconds === 0 ? '' : `function delay() return ${restMilliseconds} end`}
    `,
  );
  return file;
}

function milliseconds(match: RegExpExecArray | null): number {
  return Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN);
}
