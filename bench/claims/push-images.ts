import { alternate, atLeast, type Claim, type Numbers, numberOf } from '../measure.ts';
import { type PushLoad, pushManyImages, SMALL_IMAGE } from '../push-load.ts';
import { startDistribution, startDockerRegistry } from '../servers/distribution.ts';
import { startDrift } from '../servers/drift.ts';
import { type Server, withServers } from '../servers/server.ts';

const CLIENTS = 16;
const REPOSITORIES = 400;

export const pushImages: Claim = {
  name: 'push-images',
  title: `pushes of small images (${SMALL_IMAGE.layers} × 64 KiB) by ${CLIENTS} clients, into one repository and into ${REPOSITORIES}`,
  async run({ rounds, seconds }) {
    const push = (server: Server, load: Omit<PushLoad, 'clients'>) =>
      pushManyImages(server, { ...load, clients: CLIENTS });
    return withServers([startDrift, startDistribution, startDockerRegistry], async (servers) => {
      const numbers = await alternate(servers, rounds, async (server, round) => ({
        ...named('one', await push(server, { seconds, round, repositories: 1 })),
        ...named(String(REPOSITORIES), await push(server, { seconds, round, repositories: REPOSITORIES })),
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
