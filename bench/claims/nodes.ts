import { getManyTimes } from '../load.ts';
import { alternate, atLeast, atMost, type Claim, type Numbers, numberOf } from '../measure.ts';
import { MANIFEST_TYPE, makeImage, Pusher } from '../push.ts';
import { pushManyImages } from '../push-load.ts';
import { distributionOn } from '../servers/on-bucket.ts';
import { stopAll, withStack } from '../servers/on-postgres.ts';
import type { Server } from '../servers/server.ts';

const REPOSITORY = 'bench/app';
/** Connections or clients, over all nodes: as many for one as for three. */
const CLIENTS = 30;

export const stackManifestGet: Claim = {
  name: 'stack-manifest-get',
  title:
    'GET of a manifest by tag, 32 connections: Drift on PostgreSQL and MinIO, distribution on the same MinIO',
  run: ({ rounds, seconds }) =>
    withStack(async ({ service, nodes }) => {
      const servers = [...(await nodes(['Drift'], { workers: 2 }))];
      try {
        servers.push(await distributionOn(service, false));
        for (const server of servers) await pushOne(server);
        const numbers = await alternate(servers, rounds, (server) => getManifest(server, 32, seconds));
        const rate = (name: string) => numberOf(numbers, name, 'requests/s');
        return {
          numbers,
          targets: [atLeast('requests/s to distribution 3', rate('Drift') / rate('distribution 3'), 5)],
        };
      } finally {
        await stopAll(servers);
      }
    }),
};

export const nodesCpu: Claim = {
  name: 'nodes-cpu',
  title: `CPU of one node (three workers) and of three (a worker each) on PostgreSQL and MinIO, ${CLIENTS} clients in all`,
  run: ({ rounds, seconds }) =>
    withStack(async (stack) => {
      const one = await stack.nodes(['1'], { workers: 3 });
      let three: readonly Server[] = [];
      try {
        three = await stack.nodes(['1', '2', '3'], { workers: 1 });
        const subjects = [
          { name: 'one node', nodes: one },
          { name: 'three nodes', nodes: three },
        ];
        for (const { nodes } of subjects) await pushOne(nodes[0] as Server);
        const numbers = await alternate(subjects, rounds, ({ nodes }, round) =>
          loadAll(nodes, { seconds, round }),
        );
        const ratio = (name: string) =>
          numberOf(numbers, 'three nodes', name) / numberOf(numbers, 'one node', name);
        return {
          numbers,
          targets: [
            atMost('CPU of a manifest GET, three nodes to one', ratio('CPU µs/request'), 1.1),
            atMost('CPU of an image pushed, three nodes to one', ratio('CPU ms/image'), 1.1),
          ],
        };
      } finally {
        await stopAll([...one, ...three]);
      }
    }),
};

/** The same number of clients, spread over the nodes. */
async function loadAll(
  nodes: readonly Server[],
  { seconds, round }: { readonly seconds: number; readonly round: number },
): Promise<Numbers> {
  const clients = CLIENTS / nodes.length;
  const gets = await Promise.all(nodes.map((node) => getManifest(node, clients, seconds)));
  const pushes = await Promise.all(
    nodes.map((node, index) =>
      // A round for each node: what one pushes is new to the others.
      pushManyImages(node, { clients, seconds, repositories: 400, round: round * nodes.length + index }),
    ),
  );
  return {
    ...together(gets, 'requests/s', 'CPU µs/request'),
    ...together(pushes, 'images/s', 'CPU ms/image'),
  };
}

/** What several nodes did: the sum of their rates, and the cost of one thing over all that they did. */
function together(all: readonly Numbers[], rate: string, cost: string): Numbers {
  const done = all.reduce((sum, numbers) => sum + (numbers[rate] ?? Number.NaN), 0);
  const spent = all.reduce((sum, numbers) => sum + (numbers[rate] ?? 0) * (numbers[cost] ?? Number.NaN), 0);
  return { [rate]: done, [cost]: spent / done };
}

async function pushOne(server: Server): Promise<void> {
  const pusher = new Pusher(server, await server.authorize([REPOSITORY]));
  await pusher.pushImage(REPOSITORY, 'latest', makeImage(3, 1024));
  pusher.close();
}

async function getManifest(server: Server, connections: number, seconds: number): Promise<Numbers> {
  const headers = { ...(await server.authorize([REPOSITORY])), accept: MANIFEST_TYPE };
  const path = `/v2/${REPOSITORY}/manifests/latest`;
  return getManyTimes(server, { path, headers, connections, seconds });
}
