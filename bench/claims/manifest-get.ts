import { getManyTimes } from '../load.ts';
import { alternate, atLeast, atMost, type Claim, numberOf } from '../measure.ts';
import { MANIFEST_TYPE, makeImage, Pusher } from '../push.ts';
import { startBareNode } from '../servers/bare-node.ts';
import { startDistribution, startDockerRegistry } from '../servers/distribution.ts';
import { startDrift } from '../servers/drift.ts';
import { withServers } from '../servers/server.ts';

const REPOSITORY = 'bench/app';
const WORKERS = 2;

export const manifestGet: Claim = {
  name: 'manifest-get',
  title: 'GET of a manifest by tag, 32 connections',
  async run({ rounds, seconds }) {
    const image = makeImage(3, 1024);
    const bare = () => startBareNode({ workers: WORKERS, bytes: image.manifest });
    const starts = [startDrift, startDistribution, startDockerRegistry, bare];
    return withServers(starts, async (servers) => {
      for (const server of servers.slice(0, 3)) {
        const pusher = new Pusher(server, await server.authorize([REPOSITORY]));
        await pusher.pushImage(REPOSITORY, 'latest', image);
        pusher.close();
      }
      const numbers = await alternate(servers, rounds, async (server) => {
        const headers = { ...(await server.authorize([REPOSITORY])), accept: MANIFEST_TYPE };
        const path = `/v2/${REPOSITORY}/manifests/latest`;
        return getManyTimes(server, { path, headers, connections: 32, seconds });
      });
      const ratio = (name: string, peer: string) =>
        numberOf(numbers, 'Drift', name) / numberOf(numbers, peer, name);
      return {
        numbers,
        targets: [
          atLeast('requests/s to distribution 3', ratio('requests/s', 'distribution 3'), 8),
          atLeast('requests/s to bare node:http', ratio('requests/s', 'bare node:http'), 0.55),
          atMost('p99 to distribution 3', ratio('p99 ms', 'distribution 3'), 1),
        ],
      };
    });
  },
};
