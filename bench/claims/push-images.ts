import { alternate, atLeast, type Claim, type Numbers, numberOf } from '../measure.ts';
import { makeImage, Pusher } from '../push.ts';
import { startDistribution, startDockerRegistry } from '../servers/distribution.ts';
import { startDrift } from '../servers/drift.ts';
import { cpuSecondsOf } from '../servers/process-tree.ts';
import { type Server, withServers } from '../servers/server.ts';

const CLIENTS = 16;
const REPOSITORIES = 400;
const LAYERS = 3;
const LAYER_BYTES = 64 * 1024;

export const pushImages: Claim = {
  name: 'push-images',
  title: `pushes of small images (${LAYERS} × 64 KiB) by ${CLIENTS} clients, into one repository and into ${REPOSITORIES}`,
  async run({ rounds, seconds }) {
    return withServers([startDrift, startDistribution, startDockerRegistry], async (servers) => {
      const numbers = await alternate(servers, rounds, async (server, round) => ({
        ...named('one', await pushFor(server, seconds, round, 1)),
        ...named(String(REPOSITORIES), await pushFor(server, seconds, round, REPOSITORIES)),
      }));
      const drift = (name: string) => numberOf(numbers, 'Drift', name);
      const peer = (name: string) => numberOf(numbers, 'distribution 3', name);
      return {
        numbers,
        targets: [
          atLeast('one repository, to distribution 3', drift('one: images/s') / peer('one: images/s'), 2),
          atLeast('400 repositories, to distribution 3', drift('400: images/s') / peer('400: images/s'), 2),
          atLeast('one repository to 400', drift('one: images/s') / drift('400: images/s'), 0.87),
        ],
      };
    });
  },
};

function named(prefix: string, numbers: Numbers): Numbers {
  return Object.fromEntries(Object.entries(numbers).map(([name, value]) => [`${prefix}: ${name}`, value]));
}

async function pushFor(
  server: Server,
  seconds: number,
  round: number,
  repositories: number,
): Promise<Numbers> {
  const cpu = cpuSecondsOf(server.pid);
  const start = performance.now();
  const deadline = start + seconds * 1000;
  let images = 0;
  const client = async (number: number): Promise<void> => {
    // Each client has its share of the repositories, as a build farm has, and one token for each of them.
    for (let index = 0; performance.now() < deadline; index += 1) {
      const repository = `bench/app-${(number + index * CLIENTS) % repositories}`;
      const pusher = new Pusher(server, await tokenOf(server, repository));
      await pusher.pushImage(repository, `r${round}-${number}-${index}`, makeImage(LAYERS, LAYER_BYTES));
      pusher.close();
      images += 1;
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => client(number)));
  const wall = (performance.now() - start) / 1000;
  return {
    'images/s': images / wall,
    'CPU ms/image': ((cpuSecondsOf(server.pid) - cpu) * 1000) / images,
  };
}

/** Tokens live 300 s; a run of one server is shorter. */
const tokens = new Map<string, ReturnType<Server['authorize']>>();

function tokenOf(server: Server, repository: string): ReturnType<Server['authorize']> {
  const key = `${server.url} ${repository} ${Math.floor(performance.now() / 120_000)}`;
  const known = tokens.get(key) ?? server.authorize([repository]);
  tokens.set(key, known);
  return known;
}
