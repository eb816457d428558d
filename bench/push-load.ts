import { setTimeout as sleep } from 'node:timers/promises';
import { type Numbers, percentile } from './measure.ts';
import { makeImage, Pusher } from './push.ts';
import { cpuSecondsOf } from './servers/process-tree.ts';
import type { Server } from './servers/server.ts';

export const SMALL_IMAGE = { layers: 3, layerBytes: 64 * 1024 } as const;

export interface PushLoad {
  readonly clients: number;
  readonly seconds: number;
  /** Repositories that the images go to. */
  readonly repositories: number;
  /** In the tags: no two rounds push the same ones. */
  readonly round: number;
  /** How long each client rests before an image: 0, as fast as the server takes them. */
  readonly restMilliseconds?: number;
}

/** Pushes small images, each of them new, as fast as the server takes them, or with rests. */
export async function pushManyImages(server: Server, load: PushLoad): Promise<Numbers> {
  const cpu = cpuSecondsOf(server.pid);
  const start = performance.now();
  const deadline = start + load.seconds * 1000;
  const took: number[] = [];
  const client = async (number: number): Promise<void> => {
    // Each client has its share of the repositories, as a build farm has, and one token for each of them.
    for (let index = 0; performance.now() < deadline; index += 1) {
      await sleep(load.restMilliseconds ?? 0);
      const repository = `bench/app-${(number + index * load.clients) % load.repositories}`;
      const pusher = new Pusher(server, await tokenOf(server, repository));
      const image = makeImage(SMALL_IMAGE.layers, SMALL_IMAGE.layerBytes);
      const begun = performance.now();
      await pusher.pushImage(repository, `r${load.round}-${number}-${index}`, image);
      took.push(performance.now() - begun);
      pusher.close();
    }
  };
  await Promise.all(Array.from({ length: load.clients }, (_, number) => client(number)));
  const wall = (performance.now() - start) / 1000;
  return {
    'images/s': took.length / wall,
    'CPU ms/image': ((cpuSecondsOf(server.pid) - cpu) * 1000) / took.length,
    'p99 ms': percentile(took, 0.99),
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
