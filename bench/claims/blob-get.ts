import { randomBytes } from 'node:crypto';
import { getManyTimes } from '../load.ts';
import { alternate, atLeast, atMost, type Claim, numberOf } from '../measure.ts';
import { digestOf, Pusher } from '../push.ts';
import { startDistribution, startDockerRegistry } from '../servers/distribution.ts';
import { startDrift } from '../servers/drift.ts';
import { withServers } from '../servers/server.ts';

const REPOSITORY = 'bench/app';
const BLOB_BYTES = 2048;

export const blobGet: Claim = {
  name: 'blob-get',
  title: 'GET of a blob of 2 KiB, 32 connections',
  async run({ rounds, seconds }) {
    const bytes = randomBytes(BLOB_BYTES);
    const digest = digestOf(bytes);
    return withServers([startDrift, startDistribution, startDockerRegistry], async (servers) => {
      for (const server of servers) {
        const pusher = new Pusher(server, await server.authorize([REPOSITORY]));
        await pusher.pushBlob(REPOSITORY, digest, bytes);
        pusher.close();
      }
      const path = `/v2/${REPOSITORY}/blobs/${digest}`;
      const numbers = await alternate(servers, rounds, async (server) =>
        getManyTimes(server, {
          path,
          headers: await server.authorize([REPOSITORY]),
          connections: 32,
          seconds,
        }),
      );
      const ratio = (name: string) =>
        numberOf(numbers, 'Drift', name) / numberOf(numbers, 'distribution 3', name);
      return {
        numbers,
        targets: [
          atLeast('requests/s to distribution 3', ratio('requests/s'), 15),
          atMost('p99 to distribution 3', ratio('p99 ms'), 1),
        ],
      };
    });
  },
};
