import { getManyTimes } from '../load.ts';
import { alternate, atLeast, atMost, type Claim, type Numbers, numberOf } from '../measure.ts';
import { MANIFEST_TYPE, makeImage, Pusher } from '../push.ts';
import { pushManyImages } from '../push-load.ts';
import { distributionOn } from '../servers/on-bucket.ts';
import { withStack } from '../servers/on-postgres.ts';
import { type Server, withServers } from '../servers/server.ts';

const REPOSITORY = 'bench/app';
/** Connections or clients, over all nodes: as many for one as for three. */
const CLIENTS = 30;
/** More than there are connections: hardly two of them ask for the same at once. */
const TAGS = 256;

export const stackManifestGet = manifestClaim(
  'stack-manifest-get',
  'GET of one manifest by tag, 32 connections',
  1,
);
export const stackManifestsGet = manifestClaim(
  'stack-manifests-get',
  `GET of ${TAGS} manifests by tag in turn, 32 connections`,
  TAGS,
);

function manifestClaim(name: string, title: string, tags: number): Claim {
  return {
    name,
    title: `${title}: Drift on PostgreSQL and MinIO, distribution on the same MinIO`,
    run: ({ rounds, seconds }) =>
      withStack(async ({ service, nodes }) => {
        const starts = await nodes(1, { name: 'Drift', workers: 2 });
        return withServers([...starts, () => distributionOn(service, false)], async (servers) => {
          for (const server of servers) await pushTags(server, tags);
          const numbers = await alternate(servers, rounds, (server) =>
            getManifests(server, { tags, connections: 32, seconds }),
          );
          const rate = (server: string) => numberOf(numbers, server, 'requests/s');
          return {
            numbers,
            targets: [atLeast('requests/s to distribution 3', rate('Drift') / rate('distribution 3'), 5)],
          };
        });
      }),
  };
}

export const nodesCpu: Claim = {
  name: 'nodes-cpu',
  title: `CPU of three nodes of a worker each, and of one of one worker and of three, on PostgreSQL and MinIO, ${CLIENTS} clients in all`,
  run: ({ rounds, seconds }) =>
    withStack(async (stack) => {
      const starts = [
        ...(await stack.nodes(1, { name: 'one worker', workers: 1 })),
        ...(await stack.nodes(1, { name: 'three workers', workers: 3 })),
        ...(await stack.nodes(3, { name: 'one of three', workers: 1 })),
      ];
      return withServers(starts, async (servers) => {
        const subjects = [
          { name: 'one node, one worker', nodes: servers.slice(0, 1) },
          { name: 'one node, three workers', nodes: servers.slice(1, 2) },
          { name: 'three nodes', nodes: servers.slice(2) },
        ];
        for (const { nodes } of subjects) await pushTags(nodes[0] as Server, 1);
        const numbers = await alternate(subjects, rounds, ({ nodes }, round) =>
          loadAll(nodes, { seconds, round }),
        );
        const target = (what: string, cost: string, to: string) =>
          atMost(
            `CPU of ${what}, three nodes to ${to}`,
            numberOf(numbers, 'three nodes', cost) / numberOf(numbers, to, cost),
            1.1,
          );
        return {
          numbers,
          targets: subjects
            .slice(0, 2)
            .flatMap(({ name }) => [
              target('a manifest GET', 'CPU µs/request', name),
              target('an image pushed', 'CPU ms/image', name),
            ]),
        };
      });
    }),
};

/** The same number of clients, spread over the nodes. */
async function loadAll(
  nodes: readonly Server[],
  { seconds, round }: { readonly seconds: number; readonly round: number },
): Promise<Numbers> {
  const clients = CLIENTS / nodes.length;
  const gets = await Promise.all(
    nodes.map((node) => getManifests(node, { tags: 1, connections: clients, seconds })),
  );
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

/** An image for each tag. */
async function pushTags(server: Server, tags: number): Promise<void> {
  const pusher = new Pusher(server, await server.authorize([REPOSITORY]));
  for (let tag = 0; tag < tags; tag += 1) await pusher.pushImage(REPOSITORY, `t${tag}`, makeImage(3, 1024));
  pusher.close();
}

async function getManifests(
  server: Server,
  { tags, ...load }: { readonly tags: number; readonly connections: number; readonly seconds: number },
): Promise<Numbers> {
  const headers = { ...(await server.authorize([REPOSITORY])), accept: MANIFEST_TYPE };
  const [path = '', ...thenPaths] = Array.from(
    { length: tags },
    (_, tag) => `/v2/${REPOSITORY}/manifests/t${tag}`,
  );
  return getManyTimes(server, { ...load, path, thenPaths, headers });
}
