import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { atMost, type Claim, type Numbers, numberOf } from '../measure.ts';
import { startDistribution, startDockerRegistry } from '../servers/distribution.ts';
import { startDrift } from '../servers/drift.ts';
import { memoryOf } from '../servers/process-tree.ts';
import { type Server, withServers } from '../servers/server.ts';

const REPOSITORY = 'bench/memory';
const UPLOADS = 64;
const UPLOAD_BYTES = 100 * 1024 * 1024;
const PIECE_BYTES = 256 * 1024;
const MIBIBYTE = 1024 * 1024;
/** After the start, until what the start needed is given back. */
const SETTLE_MILLISECONDS = 5_000;
const SAMPLE_MILLISECONDS = 100;

export const memory: Claim = {
  name: 'memory',
  title: `memory of all processes: idle, and during ${UPLOADS} parallel uploads of 100 MB`,
  async run({ scale }) {
    return withServers([startDrift, startDistribution, startDockerRegistry], async (servers) => {
      const numbers: Record<string, Numbers> = {};
      await sleep(SETTLE_MILLISECONDS);
      for (const server of servers) numbers[server.name] = await measureMemory(server, UPLOAD_BYTES * scale);
      return {
        numbers,
        targets: [
          atMost('idle MiB, shared pages once', numberOf(numbers, 'Drift', 'idle MiB (PSS)'), 200),
          atMost('growth in MiB during uploads', numberOf(numbers, 'Drift', 'growth MiB'), 150),
        ],
      };
    });
  },
};

export async function measureMemory(server: Server, uploadBytes: number): Promise<Numbers> {
  const idle = memoryOf(server.pid);
  let peak = 0;
  const sampler = setInterval(() => {
    peak = Math.max(peak, memoryOf(server.pid).proportionalBytes);
  }, SAMPLE_MILLISECONDS);
  const headers = await server.authorize([REPOSITORY]);
  await Promise.all(Array.from({ length: UPLOADS }, () => upload(server, headers, uploadBytes)));
  clearInterval(sampler);
  return {
    'idle MiB (PSS)': idle.proportionalBytes / MIBIBYTE,
    'idle MiB (sum of RSS)': idle.residentBytes / MIBIBYTE,
    'growth MiB': (peak - idle.proportionalBytes) / MIBIBYTE,
  };
}

/** Sent and then cancelled: what is measured is the way in. */
async function upload(server: Server, headers: Readonly<Record<string, string>>, bytes: number) {
  const url = `${server.url}/v2/${REPOSITORY}/blobs/uploads/`;
  const started = await fetch(url, { method: 'POST', headers });
  const location = new URL(started.headers.get('location') ?? '', url).href;
  const next = await patch(location, headers, bytes);
  await fetch(new URL(next, url), { method: 'DELETE', headers });
}

function patch(url: string, headers: Readonly<Record<string, string>>, bytes: number): Promise<string> {
  const piece = randomBytes(PIECE_BYTES);
  return new Promise((resolve, reject) => {
    const options = { method: 'PATCH', headers: { ...headers, 'content-length': String(bytes) } };
    const sent = request(url, options, (response) => {
      response.resume().on('end', () => {
        if (response.statusCode === 202) resolve(response.headers.location ?? '');
        else reject(new Error(`PATCH gave ${response.statusCode}`));
      });
    });
    sent.on('error', reject);
    let left = bytes;
    const write = (): void => {
      while (left > 0) {
        const length = Math.min(left, PIECE_BYTES);
        left -= length;
        if (!sent.write(piece.subarray(0, length)) && left > 0) {
          sent.once('drain', write);
          return;
        }
      }
      sent.end();
    };
    write();
  });
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}
