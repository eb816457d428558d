import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requireTool } from '../../scripts/tools.ts';
import { curl, finishUrl, type LargeFile, timed, writeLargeFile } from '../large-file.ts';
import { alternate, atLeast, atMost, type Claim, type Numbers, numberOf } from '../measure.ts';
import { pushManyImages, SMALL_IMAGE } from '../push-load.ts';
import { withBucketServers } from '../servers/on-bucket.ts';
import { newDirectory, type Server } from '../servers/server.ts';
import { measureMemory } from './memory.ts';
import { putWhole, uploadTo } from './upload-large.ts';

const run = promisify(execFile);
const REPOSITORY = 'bench/large';
const FILE_BYTES = 1024 * 1024 * 1024;
const CLIENTS = 16;

export const s3Upload: Claim = {
  name: 's3-upload',
  title: 'on one MinIO: PUT of 1 GiB, monolithic',
  run: ({ rounds, scale }) =>
    withFile(FILE_BYTES * scale, (file) =>
      withBucketServers({ redirects: false }, async (servers) => {
        const numbers = await alternate(servers, rounds, (server) => uploadTo(server, putWhole, file));
        return { numbers, targets: below(numbers) };
      }),
    ),
};

export const s3Download: Claim = {
  name: 's3-download',
  title: 'on one MinIO: GET of 1 GiB through the registry',
  run: ({ rounds, scale }) =>
    withFile(FILE_BYTES * scale, (file) =>
      withBucketServers({ redirects: false }, async (servers) => {
        for (const server of servers) await push(server, file);
        const numbers = await alternate(servers, rounds, async (server) => {
          const headers = await server.authorize([REPOSITORY]);
          const url = `${server.url}/v2/${REPOSITORY}/blobs/${file.digest}`;
          return timed(server, () => curl({ method: 'GET', url, headers }));
        });
        return { numbers, targets: below(numbers) };
      }),
    ),
};

/** Drift's redirect followed, beside the address it leads to, asked for directly. */
export const s3Redirect: Claim = {
  name: 's3-redirect',
  title: 'on one MinIO: GET of 1 GiB by a redirect, and from MinIO itself',
  run: ({ rounds, scale }) =>
    withFile(FILE_BYTES * scale, (file) =>
      withBucketServers({ redirects: true }, async ([drift]) => {
        if (drift === undefined) throw new Error('Drift did not start');
        await push(drift, file);
        const { authorization = '' } = await drift.authorize([REPOSITORY]);
        const url = `${drift.url}/v2/${REPOSITORY}/blobs/${file.digest}`;
        const header = `Authorization: ${authorization}`;
        const signed = (
          await run(requireTool('curl'), [
            '-sS',
            '-o',
            '/dev/null',
            '-w',
            '%{redirect_url}',
            '-H',
            header,
            url,
          ])
        ).stdout;
        const get = (...args: string[]) => run(requireTool('curl'), ['-sSfL', '-o', '/dev/null', ...args]);
        const subjects = [
          { name: 'Drift', get: () => get('-H', header, url) },
          { name: 'MinIO', get: () => get(signed) },
        ];
        const numbers = await alternate(subjects, rounds, (subject) => timed(drift, subject.get));
        const wall = (name: string) => numberOf(numbers, name, 'wall s');
        return { numbers, targets: [atMost('wall to a presigned GET', wall('Drift') / wall('MinIO'), 1.1)] };
      }),
    ),
};

export const s3PushImages: Claim = {
  name: 's3-push-images',
  title: `on one MinIO: pushes of small images (${SMALL_IMAGE.layers} × 64 KiB) by ${CLIENTS} clients`,
  run: ({ rounds, seconds }) =>
    withBucketServers({ redirects: false }, async (servers) => {
      const load = { clients: CLIENTS, seconds, repositories: 400 };
      const numbers = await alternate(servers, rounds, (server, round) =>
        pushManyImages(server, { ...load, round }),
      );
      const rate = (name: string) => numberOf(numbers, name, 'images/s');
      return {
        numbers,
        targets: [atLeast('images/s to distribution 3', rate('Drift') / rate('distribution 3'), 2)],
      };
    }),
};

export const s3Memory: Claim = {
  name: 's3-memory',
  title: 'on one MinIO: memory of all processes, idle and during 64 parallel uploads of 100 MB',
  run: ({ scale }) =>
    withBucketServers({ redirects: false }, async (servers) => {
      const numbers: Record<string, Numbers> = {};
      for (const server of servers)
        numbers[server.name] = await measureMemory(server, 100 * 1024 * 1024 * scale);
      // Two workers, each with the 256 MiB of `s3.upload_memory`, and what a connection needs.
      return { numbers, targets: [atMost('growth in MiB', numberOf(numbers, 'Drift', 'growth MiB'), 700)] };
    }),
};

async function withFile<T>(sizeBytes: number, use: (file: LargeFile) => Promise<T>): Promise<T> {
  const directory = newDirectory('content');
  try {
    return await use(writeLargeFile(join(directory, 'file'), sizeBytes));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function push(server: Server, file: LargeFile): Promise<void> {
  const headers = await server.authorize([REPOSITORY]);
  const url = `${server.url}/v2/${REPOSITORY}/blobs/uploads/`;
  const start = await curl({ method: 'POST', url, headers });
  await curl({ method: 'PUT', url: finishUrl(start, file.digest), headers, file: file.path });
}

function below(numbers: Readonly<Record<string, Numbers>>) {
  const ratio = (name: string) =>
    numberOf(numbers, 'Drift', name) / numberOf(numbers, 'distribution 3', name);
  return [
    atMost('wall to distribution 3', ratio('wall s'), 1),
    atMost('CPU to distribution 3', ratio('CPU s'), 1),
  ];
}
