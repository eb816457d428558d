import { execFile } from 'node:child_process';
import { closeSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Connection, curl, finishUrl, type LargeFile, timed, writeLargeFile } from '../large-file.ts';
import { alternate, atMost, type Claim, type Numbers, numberOf, type Target } from '../measure.ts';
import { startDistribution } from '../servers/distribution.ts';
import { startDrift } from '../servers/drift.ts';
import { newDirectory, type Server, withServers } from '../servers/server.ts';

const run = promisify(execFile);
const REPOSITORY = 'bench/large';
const FILE_BYTES = 1024 * 1024 * 1024;
const CHUNK_BYTES = 16 * 1024 * 1024;

type Headers = Readonly<Record<string, string>>;
type Upload = (start: string, headers: Headers, file: LargeFile) => Promise<unknown>;

/** One PUT with everything. */
export const putWhole: Upload = (start, headers, { path, digest }) =>
  curl({ method: 'PUT', url: finishUrl(start, digest), headers, file: path });

const patchOnce: Upload = async (start, headers, { path, digest }) => {
  const location = await curl({ method: 'PATCH', url: start, headers, file: path });
  await curl({ method: 'PUT', url: finishUrl(location, digest), headers });
};

/** One connection for all, as the clients that send chunks have it: they wait for each answer. */
const patchChunks: Upload = async (start, headers, { path, digest, sizeBytes }) => {
  const file = openSync(path, 'r');
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const connection = new Connection();
  try {
    let location = start;
    for (let offset = 0; offset < sizeBytes; offset += CHUNK_BYTES) {
      const body = chunk.subarray(0, readSync(file, chunk, 0, CHUNK_BYTES, offset));
      const range = `${offset}-${offset + body.length - 1}`;
      const type = 'application/octet-stream';
      location = await connection.send('PATCH', location, {
        headers: { ...headers, 'content-range': range, 'content-type': type },
        body,
      });
    }
    await connection.send('PUT', finishUrl(location, digest), { headers });
  } finally {
    connection.close();
    closeSync(file);
  }
};

export const uploadWhole = uploadClaim('upload-put', 'PUT of 1 GiB, monolithic', putWhole);
export const uploadStreamed = uploadClaim('upload-patch', 'one streamed PATCH of 1 GiB', patchOnce);
export const uploadChunks = uploadClaim('upload-chunks', '1 GiB in chunks of 16 MiB', patchChunks);

function uploadClaim(name: string, title: string, upload: Upload): Claim {
  return {
    name,
    title,
    async run({ rounds, scale }) {
      const directory = newDirectory('content');
      try {
        const file = writeLargeFile(join(directory, 'file'), FILE_BYTES * scale);
        return await withServers([startDrift, startDistribution], async (servers) => {
          const floor = { name: 'openssl + cp + fsync', directory };
          const numbers = await alternate([...servers, floor], rounds, (subject) =>
            'url' in subject ? uploadTo(subject, upload, file) : hashAndCopy(file, directory),
          );
          return { numbers, targets: targetsOf(numbers) };
        });
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  };
}

export async function uploadTo(server: Server, upload: Upload, file: LargeFile): Promise<Numbers> {
  const headers = await server.authorize([REPOSITORY]);
  const url = `${server.url}/v2/${REPOSITORY}/blobs/uploads/`;
  const start = await curl({ method: 'POST', url, headers });
  return timed(server, () => upload(start, headers, file));
}

/** What no registry can do without: hash it, write it, make it durable. */
async function hashAndCopy(file: LargeFile, directory: string): Promise<Numbers> {
  const script = join(directory, 'floor.sh');
  const copy = join(directory, 'copy');
  writeFileSync(script, `openssl dgst -sha256 ${file.path}\ncp ${file.path} ${copy}\nsync ${copy}\ntimes\n`);
  const start = performance.now();
  const { stdout } = await run('bash', [script]);
  const times = [...(stdout.trim().split('\n').at(-1) ?? '').matchAll(/(\d+)m([\d.]+)s/g)];
  const cpu = times.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0);
  return { 'wall s': (performance.now() - start) / 1000, 'CPU s': cpu };
}

function targetsOf(numbers: Readonly<Record<string, Numbers>>): Target[] {
  const ratio = (name: string, peer: string) =>
    numberOf(numbers, 'Drift', name) / numberOf(numbers, peer, name);
  return [
    atMost('wall to distribution 3', ratio('wall s', 'distribution 3'), 0.6),
    atMost('CPU to distribution 3', ratio('CPU s', 'distribution 3'), 0.6),
    atMost('CPU to openssl + cp', ratio('CPU s', 'openssl + cp + fsync'), 1.6),
  ];
}
