import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { curl, type LargeFile, timed, writeLargeFile } from '../large-file.ts';
import { getManyTimes } from '../load.ts';
import { alternate, atLeast, type Claim, type Numbers, numberOf } from '../measure.ts';
import { digestOf, MANIFEST_TYPE, makeImage, Pusher } from '../push.ts';
import { pushManyImages } from '../push-load.ts';
import { seedLedger } from '../seed.ts';
import { startDrift } from '../servers/drift.ts';
import { newDirectory, type Server, withServers } from '../servers/server.ts';
import { putWhole, uploadTo } from './upload-large.ts';

const SEEDED_REPOSITORIES = 1_000;
const SEEDED_MANIFESTS_EACH = 1_000;
const REPOSITORY = 'bench/large';
const BLOB_BYTES = 2048;
const FILE_BYTES = 1024 * 1024 * 1024;
const MIBIBYTE = 1024 * 1024;
const CONNECTIONS = 32;
const PUSHING_CLIENTS = 16;
const RATIO_MIN = 0.9;

const FULL = 'Drift, 1,000,000 manifests';
const EMPTY = 'Drift, empty';
const RATES = ['manifest GET/s', 'blob GET/s', 'images/s', 'upload MiB/s', 'download MiB/s'] as const;

export const stored: Claim = {
  name: 'stored',
  title: 'throughput with 1,000,000 manifests stored (tagged, in 1,000 repositories) and with none',
  async run({ rounds, seconds, scale }) {
    const content = newDirectory('content');
    const directory = newDirectory('stored');
    try {
      const file = writeLargeFile(join(content, 'file'), FILE_BYTES * scale);
      await seedManifests(directory, SEEDED_MANIFESTS_EACH * scale);
      const starts = [() => startDrift({ name: FULL, directory }), () => startDrift({ name: EMPTY })];
      return await withServers(starts, async (servers) => {
        const image = makeImage(3, 1024);
        const blob = randomBytes(BLOB_BYTES);
        for (const server of servers) {
          const pusher = new Pusher(server, await server.authorize([REPOSITORY]));
          await pusher.pushImage(REPOSITORY, 'latest', image);
          await pusher.pushBlob(REPOSITORY, digestOf(blob), blob);
          pusher.close();
        }
        const numbers = await alternate(servers, rounds, async (server, round) => ({
          ...(await getRates(server, seconds, digestOf(blob))),
          'images/s': await imageRate(server, seconds, round),
          ...(await largeRates(server, file)),
        }));
        const targets = RATES.map((name) =>
          atLeast(
            `${name}, to empty`,
            numberOf(numbers, FULL, name) / numberOf(numbers, EMPTY, name),
            RATIO_MIN,
          ),
        );
        return { numbers, targets };
      });
    } finally {
      for (const each of [content, directory]) rmSync(each, { recursive: true, force: true });
    }
  },
};

/** No claim reads the blobs of these images: they have no files. */
function seedManifests(directory: string, manifestsEach: number): Promise<void> {
  return seedLedger(directory, (seed) => {
    for (let index = 0; index < SEEDED_REPOSITORIES; index += 1) {
      const base = `seeded/app-${index}`;
      const repository = seed.repository(base);
      for (let number = 0; number < manifestsEach; number += 1) {
        seed.tag(repository, `v${number}`, seed.image(repository, { name: `${base}:${number}`, base }));
      }
    }
  });
}

async function getRates(server: Server, seconds: number, digest: string): Promise<Numbers> {
  const headers = { ...(await server.authorize([REPOSITORY])), accept: MANIFEST_TYPE };
  const rate = async (path: string): Promise<number> => {
    const load = { path: `/v2/${REPOSITORY}/${path}`, headers, connections: CONNECTIONS, seconds };
    return (await getManyTimes(server, load))['requests/s'] ?? Number.NaN;
  };
  return {
    'manifest GET/s': await rate('manifests/latest'),
    'blob GET/s': await rate(`blobs/${digest}`),
  };
}

async function imageRate(server: Server, seconds: number, round: number): Promise<number> {
  const load = { clients: PUSHING_CLIENTS, seconds, round, repositories: 1 };
  return (await pushManyImages(server, load))['images/s'] ?? Number.NaN;
}

async function largeRates(server: Server, file: LargeFile): Promise<Numbers> {
  const rateOf = (numbers: Numbers): number => file.sizeBytes / MIBIBYTE / (numbers['wall s'] ?? Number.NaN);
  const uploaded = await uploadTo(server, putWhole, file);
  const headers = await server.authorize([REPOSITORY]);
  const url = `${server.url}/v2/${REPOSITORY}/blobs/${file.digest}`;
  const downloaded = await timed(server, () => curl({ method: 'GET', url, headers }));
  return { 'upload MiB/s': rateOf(uploaded), 'download MiB/s': rateOf(downloaded) };
}
