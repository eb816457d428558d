import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { curl, finishUrl, timed, writeLargeFile } from '../large-file.ts';
import { alternate, atMost, type Claim, numberOf } from '../measure.ts';
import { startDistribution } from '../servers/distribution.ts';
import { startDrift } from '../servers/drift.ts';
import { startNginx } from '../servers/nginx.ts';
import { newDirectory, withServers } from '../servers/server.ts';

const REPOSITORY = 'bench/large';
const MIBIBYTE = 1024 * 1024;

interface Shape {
  readonly name: string;
  readonly title: string;
  readonly sizeBytes: number;
  readonly parallel: number;
}

export const downloadOne = downloadClaim({
  name: 'download',
  title: 'GET of 1 GiB',
  sizeBytes: 1024 * MIBIBYTE,
  parallel: 1,
});

export const downloadParallel = downloadClaim({
  name: 'download-parallel',
  title: '16 parallel GETs of 100 MiB',
  sizeBytes: 100 * MIBIBYTE,
  parallel: 16,
});

function downloadClaim(shape: Shape): Claim {
  return {
    name: shape.name,
    title: shape.title,
    async run({ rounds, scale }) {
      const directory = newDirectory('content');
      try {
        const file = writeLargeFile(join(directory, 'file'), shape.sizeBytes * scale);
        const starts = [startDrift, startDistribution, () => startNginx({ files: directory })];
        return await withServers(starts, async (servers) => {
          for (const server of servers.slice(0, 2)) {
            const headers = await server.authorize([REPOSITORY]);
            const url = `${server.url}/v2/${REPOSITORY}/blobs/uploads/`;
            const start = await curl({ method: 'POST', url, headers });
            await curl({ method: 'PUT', url: finishUrl(start, file.digest), headers, file: file.path });
          }
          const numbers = await alternate(servers, rounds, async (server) => {
            const headers = await server.authorize([REPOSITORY]);
            const path = server.name === 'nginx' ? '/file' : `/v2/${REPOSITORY}/blobs/${file.digest}`;
            const get = () => curl({ method: 'GET', url: `${server.url}${path}`, headers });
            return timed(server, () => Promise.all(Array.from({ length: shape.parallel }, get)));
          });
          const ratio = (name: string, peer: string) =>
            numberOf(numbers, 'Drift', name) / numberOf(numbers, peer, name);
          const targets =
            shape.parallel === 1
              ? [
                  atMost('CPU to distribution 3', ratio('CPU s', 'distribution 3'), 1),
                  atMost('wall to nginx', ratio('wall s', 'nginx'), 1.15),
                ]
              : [atMost('wall to distribution 3', ratio('wall s', 'distribution 3'), 0.75)];
          return { numbers, targets };
        });
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  };
}
