import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, writeSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { promisify } from 'node:util';
import { requireTool } from '../scripts/tools.ts';
import type { Numbers } from './measure.ts';
import { cpuSecondsOf } from './servers/process-tree.ts';
import type { Server } from './servers/server.ts';

const run = promisify(execFile);
const PIECE_BYTES = 16 * 1024 * 1024;

export interface LargeFile {
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** Random bytes, written once, so that they are in the page cache. */
export function writeLargeFile(path: string, sizeBytes: number): LargeFile {
  const file = openSync(path, 'w');
  const hash = createHash('sha256');
  for (let left = sizeBytes; left > 0; left -= PIECE_BYTES) {
    const piece = randomBytes(Math.min(left, PIECE_BYTES));
    hash.update(piece);
    writeSync(file, piece);
  }
  closeSync(file);
  return { path, digest: `sha256:${hash.digest('hex')}`, sizeBytes };
}

export interface CurlRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly file?: string;
}

/** Sends with curl, which costs the machine little beside the server; gives back the `Location`. */
export async function curl({ method, url, headers, file }: CurlRequest): Promise<string> {
  const lines = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const body = file === undefined ? [] : ['-T', file, '-H', 'Content-Type: application/octet-stream'];
  const length = file === undefined && method !== 'GET' ? ['-H', 'Content-Length: 0'] : [];
  const format = '%{http_code} %{redirect_url} %header{location}';
  const args = [
    '-sS',
    '-f',
    '-o',
    '/dev/null',
    '-w',
    format,
    '-X',
    method,
    ...lines,
    ...body,
    ...length,
    url,
  ];
  const { stdout } = await run(requireTool('curl'), args);
  const location = stdout.split(' ').at(-1) ?? '';
  return location === '' ? '' : new URL(location, url).href;
}

/** One connection that stays open from request to request. */
export class Connection {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  /** Gives back the `Location`; throws unless the answer is a success. */
  async send(
    method: string,
    url: string,
    options: { readonly headers: Readonly<Record<string, string>>; readonly body?: Uint8Array },
  ): Promise<string> {
    const body = options.body ?? new Uint8Array(0);
    const headers = { ...options.headers, 'content-length': String(body.length) };
    const sent = request(url, { method, headers, agent: this.#agent });
    sent.end(body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const text = Buffer.concat(await response.toArray()).toString();
    const status = response.statusCode ?? 0;
    if (status < 200 || status > 299) throw new Error(`${method} ${url}: ${status} ${text}`);
    return new URL(response.headers.location ?? '', url).href;
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Wall time of `work`, and processor time that all processes of the server took meanwhile. */
export async function timed(server: Pick<Server, 'pid'>, work: () => Promise<unknown>): Promise<Numbers> {
  const cpu = cpuSecondsOf(server.pid);
  const start = performance.now();
  await work();
  const wall = (performance.now() - start) / 1000;
  return { 'wall s': wall, 'CPU s': cpuSecondsOf(server.pid) - cpu };
}

/** Where an upload is finished: what the server said, and the digest. */
export function finishUrl(location: string, digest: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
}
