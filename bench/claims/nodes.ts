import { getManyTimes, type Load } from '../load.ts';
import { alternate, atLeast, atMost, type Claim, type Numbers, numberOf } from '../measure.ts';
import { MANIFEST_TYPE, makeImage, Pusher } from '../push.ts';
import { pushManyImages } from '../push-load.ts';
import { distributionOn } from '../servers/on-bucket.ts';
import { withStack } from '../servers/on-postgres.ts';
import { type Server, withServers } from '../servers/server.ts';

/** Connections or clients of a flood, over all nodes: as many for one as for three. */
const CLIENTS = 30;

interface Manifests {
  readonly repositories: number;
  /** Of each repository. */
  readonly tags: number;
}

const ONE: Manifests = { repositories: 1, tags: 1 };

export const stackManifestGet = manifestClaim('stack-manifest-get', ONE);
/** More than there are connections: hardly two of them ask for the same at once. */
export const stackManifestsGet = manifestClaim('stack-manifests-get', { repositories: 1, tags: 256 });
/** As many as the scopes of one token may name without its head becoming too long. */
export const stackRepositoriesGet = manifestClaim('stack-repositories-get', { repositories: 96, tags: 1 });

function manifestClaim(name: string, manifests: Manifests): Claim {
  const { repositories, tags } = manifests;
  return {
    name,
    title: `GET of manifests by tag in turn, ${repositories} × ${tags} of them, 32 connections: Drift on PostgreSQL and MinIO, distribution on the same MinIO`,
    run: ({ rounds, seconds }) =>
      withStack(async ({ service, nodes }) => {
        const starts = await nodes(1, { name: 'Drift', workers: 2 });
        return withServers([...starts, () => distributionOn(service, false)], async (servers) => {
          for (const server of servers) await pushAll(server, manifests);
          const numbers = await alternate(servers, rounds, (server) =>
            getManifests(server, { manifests, connections: 32, seconds }),
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

/** Rests that leave a node of one worker a load far below what it can do. */
const RESTS = { get: 10, push: 1_500 };
const CLIENTS_RESTING = { get: 30, push: 10 };

interface Loaded {
  readonly name: string;
  readonly nodes: readonly Server[];
  /** Each node has what one has alone; else `CLIENTS` flood all of them together. */
  readonly isResting: boolean;
}

export const nodesCpu: Claim = {
  name: 'nodes-cpu',
  title: `CPU of three nodes of a worker each, and of one node, on PostgreSQL and MinIO: each node at the same load, and flooded by ${CLIENTS} clients in all`,
  run: ({ rounds, seconds }) =>
    withStack(async (stack) => {
      const starts = [
        ...(await stack.nodes(1, { name: 'one worker', workers: 1 })),
        ...(await stack.nodes(1, { name: 'three workers', workers: 3 })),
        ...(await stack.nodes(3, { name: 'one of three', workers: 1 })),
      ];
      return withServers(starts, async (servers) => {
        const [one, threeWorkers, three] = [servers.slice(0, 1), servers.slice(1, 2), servers.slice(2)];
        const subjects: readonly Loaded[] = [
          { name: 'one node', nodes: one, isResting: true },
          { name: 'three nodes, each at its load', nodes: three, isResting: true },
          { name: 'one node of three workers, flooded', nodes: threeWorkers, isResting: false },
          { name: 'one node of one worker, flooded', nodes: one, isResting: false },
          { name: 'three nodes, flooded', nodes: three, isResting: false },
        ];
        for (const nodes of [one, threeWorkers, three]) await pushAll(nodes[0] as Server, ONE);
        const numbers = await alternate(subjects, rounds, (subject, round) =>
          loadAll(subject, { seconds, round }),
        );
        const targets = ([of, to]: readonly [string, string]) =>
          (['CPU µs/request', 'CPU ms/image'] as const).map((cost) =>
            atMost(`${cost}, ${of} to ${to}`, numberOf(numbers, of, cost) / numberOf(numbers, to, cost), 1.1),
          );
        const pairs = [
          ['three nodes, each at its load', 'one node'],
          ['three nodes, flooded', 'one node of three workers, flooded'],
          ['three nodes, flooded', 'one node of one worker, flooded'],
        ] as const;
        return { numbers, targets: pairs.flatMap(targets) };
      });
    }),
};

async function loadAll(
  { nodes, isResting }: Loaded,
  { seconds, round }: { readonly seconds: number; readonly round: number },
): Promise<Numbers> {
  const clients = CLIENTS / nodes.length;
  const gets = await Promise.all(
    nodes.map((node) =>
      getManifests(node, {
        manifests: ONE,
        connections: isResting ? CLIENTS_RESTING.get : clients,
        restMilliseconds: isResting ? RESTS.get : 0,
        seconds,
      }),
    ),
  );
  const pushes = await Promise.all(
    nodes.map((node, index) =>
      pushManyImages(node, {
        clients: isResting ? CLIENTS_RESTING.push : clients,
        restMilliseconds: isResting ? RESTS.push : 0,
        seconds,
        repositories: 400,
        // For each node and load its own: what one pushes is new to the others.
        round: 2 * (round * nodes.length + index) + (isResting ? 0 : 1),
      }),
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

function placesOf({
  repositories,
  tags,
}: Manifests): { readonly repository: string; readonly tag: string }[] {
  return Array.from({ length: repositories * tags }, (_, index) => ({
    repository: `bench/app-${index % repositories}`,
    tag: `t${Math.floor(index / repositories)}`,
  }));
}

function authorizeFor(server: Server, manifests: Manifests): ReturnType<Server['authorize']> {
  return server.authorize([...new Set(placesOf(manifests).map(({ repository }) => repository))]);
}

/** An image for each. */
async function pushAll(server: Server, manifests: Manifests): Promise<void> {
  const pusher = new Pusher(server, await authorizeFor(server, manifests));
  for (const { repository, tag } of placesOf(manifests))
    await pusher.pushImage(repository, tag, makeImage(3, 1024));
  pusher.close();
}

async function getManifests(
  server: Server,
  { manifests, ...load }: { readonly manifests: Manifests } & Omit<Load, 'path' | 'thenPaths' | 'headers'>,
): Promise<Numbers> {
  const headers = { ...(await authorizeFor(server, manifests)), accept: MANIFEST_TYPE };
  const [path = '', ...thenPaths] = placesOf(manifests).map(
    ({ repository, tag }) => `/v2/${repository}/manifests/${tag}`,
  );
  return getManyTimes(server, { ...load, path, thenPaths, headers });
}
