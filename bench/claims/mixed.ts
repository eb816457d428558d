import { getManyTimes } from '../load.ts';
import { alternate, atMost, type Claim, type Numbers, numberOf } from '../measure.ts';
import { type Image, MANIFEST_TYPE, makeImage, Pusher } from '../push.ts';
import { pushManyImages, SMALL_IMAGE } from '../push-load.ts';
import { startDrift } from '../servers/drift.ts';
import { type Server, withServers } from '../servers/server.ts';

const REPOSITORY = 'bench/pulled';
const CLIENTS = 32;
const PULLING = 24;
const PUSHING = CLIENTS - PULLING;
const RATIO_MAX = 2;

interface Mix {
  readonly name: string;
  readonly pulling: number;
  readonly pushing: number;
}

const ALONE_PULL: Mix = { name: 'pulls alone', pulling: CLIENTS, pushing: 0 };
const ALONE_PUSH: Mix = { name: 'pushes alone', pulling: 0, pushing: CLIENTS };
const MIXED: Mix = { name: 'mixed', pulling: PULLING, pushing: PUSHING };

export const mixed: Claim = {
  name: 'mixed',
  title: `${PULLING} clients that pull small images and ${PUSHING} that push them, to ${CLIENTS} that do one of both`,
  async run({ rounds, seconds }) {
    return withServers([startDrift], async ([server]) => {
      if (server === undefined) throw new Error('no server');
      const image = makeImage(SMALL_IMAGE.layers, SMALL_IMAGE.layerBytes);
      const pusher = new Pusher(server, await server.authorize([REPOSITORY]));
      await pusher.pushImage(REPOSITORY, 'latest', image);
      pusher.close();
      const numbers = await alternate([ALONE_PULL, ALONE_PUSH, MIXED], rounds, async (mix, round) => {
        const [pulls, pushes] = await Promise.all([
          mix.pulling === 0 ? {} : pull(server, image, { connections: mix.pulling, seconds }),
          mix.pushing === 0
            ? {}
            : pushManyImages(server, { clients: mix.pushing, seconds, round, repositories: CLIENTS }),
        ]);
        return { ...named('pull', pulls), ...named('push', pushes) };
      });
      const ratio = (name: string, alone: Mix) =>
        numberOf(numbers, MIXED.name, name) / numberOf(numbers, alone.name, name);
      return {
        numbers,
        targets: [
          atMost('p99 of pulls, mixed to alone', ratio('pull: p99 ms', ALONE_PULL), RATIO_MAX),
          atMost('p99 of pushes, mixed to alone', ratio('push: p99 ms', ALONE_PUSH), RATIO_MAX),
        ],
      };
    });
  },
};

/** What a client gets: the manifest by its tag, then config and layers. */
async function pull(
  server: Server,
  image: Image,
  load: { readonly connections: number; readonly seconds: number },
): Promise<Numbers> {
  return getManyTimes(server, {
    ...load,
    path: `/v2/${REPOSITORY}/manifests/latest`,
    thenPaths: image.blobs.map(({ digest }) => `/v2/${REPOSITORY}/blobs/${digest}`),
    headers: { ...(await server.authorize([REPOSITORY])), accept: MANIFEST_TYPE },
  });
}

function named(prefix: string, { 'p99 ms': p99, ...numbers }: Numbers): Numbers {
  const rate = 'requests/s' in numbers ? 'requests/s' : 'images/s';
  return p99 === undefined
    ? {}
    : { [`${prefix}: ${rate}`]: numbers[rate] ?? Number.NaN, [`${prefix}: p99 ms`]: p99 };
}
