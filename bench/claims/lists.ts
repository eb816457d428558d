import { getManyTimes } from '../load.ts';
import { alternate, atMost, type Claim, numberOf } from '../measure.ts';
import { seedLedger } from '../seed.ts';
import { startBareNode } from '../servers/bare-node.ts';
import { startDrift } from '../servers/drift.ts';
import { newDirectory, type Server, withServers } from '../servers/server.ts';

const TAGS = 1_000_000;
const TAGGED_MANIFESTS = 1_000;
const REPOSITORIES = 100_000;
const REFERRERS = 10_000;
const REPOSITORIES_READ = ['bench/tags', 'bench/referrers'];
const PAGE_ENTRIES = 1_000;
/** Places in a list where pages begin, so that no single one stays at hand. */
const PLACES = 16;
const WORKERS = 2;
/** One for each worker: what is asked for is how long a page takes, not how long requests wait for each other. */
const CONNECTIONS = WORKERS;
const P99_MILLISECONDS_MAX = 10;

interface List {
  readonly name: string;
  readonly paths: readonly string[];
  /** Measured beside a server that only writes the same bytes. */
  readonly floor?: boolean;
}

export const lists: Claim = {
  name: 'lists',
  title: `pages of ${PAGE_ENTRIES} of 1,000,000 tags and of 100,000 repositories, the page of 10,000 referrers, ${CONNECTIONS} connections`,
  async run({ rounds, seconds, scale }) {
    const directory = newDirectory('lists');
    const pages = await seedLists(directory, scale);
    return withServers([() => startDrift({ directory })], async ([server]) => {
      if (server === undefined) throw new Error('no server');
      const bare = await Promise.all(pages.filter(({ floor }) => floor).map((page) => bareOf(server, page)));
      return withServers(bare, async (floors) => {
        const floorLists = floors.map((floor) => ({ name: floor.name, server: floor, paths: ['/'] }));
        const subjects = [...pages.map((page) => ({ ...page, server })), ...floorLists];
        const numbers = await alternate(subjects, rounds, async (subject) => {
          const [path = '', ...thenPaths] = subject.paths;
          const headers = await subject.server.authorize(REPOSITORIES_READ);
          return getManyTimes(subject.server, {
            path,
            thenPaths,
            headers,
            connections: CONNECTIONS,
            seconds,
          });
        });
        const targets = pages.map(({ name }) =>
          atMost(`${name}: p99 ms`, numberOf(numbers, name, 'p99 ms'), P99_MILLISECONDS_MAX),
        );
        return { numbers, targets };
      });
    });
  },
};

/** The same page without a registry: what this machine takes for it at this hour. */
async function bareOf(server: Server, { name, paths }: List): Promise<() => Promise<Server>> {
  const headers = await server.authorize(REPOSITORIES_READ);
  const response = await fetch(`${server.url}${paths[0]}`, { headers });
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  const bytes = await response.bytes();
  return async () => ({
    ...(await startBareNode({ workers: WORKERS, bytes })),
    name: `bare node:http, ${name}`,
  });
}

async function seedLists(directory: string, scale: number): Promise<readonly List[]> {
  const tagName = (number: number): string => `v${String(number).padStart(9, '0')}`;
  const repositoryName = (number: number): string => `bench/app-${String(number).padStart(9, '0')}`;
  const tags = TAGS * scale;
  const repositories = REPOSITORIES * scale;
  let subject = '';
  await seedLedger(directory, (seed) => {
    const tagged = seed.repository('bench/tags');
    const manifests = Array.from({ length: TAGGED_MANIFESTS }, (_, number) =>
      seed.artifact(tagged, { title: `image ${number}` }),
    );
    for (let number = 0; number < tags; number += 1) {
      const manifest = manifests[number % manifests.length];
      if (manifest !== undefined) seed.tag(tagged, tagName(number), manifest);
    }
    for (let number = 0; number < repositories; number += 1) {
      const repository = seed.repository(repositoryName(number));
      seed.tag(repository, 'latest', seed.artifact(repository, { title: `application ${number}` }));
    }
    const referred = seed.repository('bench/referrers');
    const image = seed.artifact(referred, { title: 'subject' });
    for (let number = 0; number < REFERRERS * scale; number += 1) {
      seed.artifact(referred, { title: `attestation ${number}`, subject: image });
    }
    subject = image.digest;
  });
  const n = `n=${PAGE_ENTRIES}`;
  const places = (count: number) =>
    Array.from({ length: PLACES }, (_, at) => Math.floor((at * count) / PLACES));
  const farTags = places(tags).map((at) => `/v2/bench/tags/tags/list?${n}&last=${tagName(at)}`);
  const farRepositories = places(repositories).map((at) => `/v2/_catalog?${n}&last=${repositoryName(at)}`);
  return [
    { name: 'tags, first page', paths: [`/v2/bench/tags/tags/list?${n}`], floor: true },
    { name: 'tags, all along', paths: farTags },
    { name: 'catalog, first page', paths: [`/v2/_catalog?${n}`] },
    { name: 'catalog, all along', paths: farRepositories },
    // Without `n` the page is as large as clients read it: all of them.
    { name: 'referrers', paths: [`/v2/bench/referrers/referrers/${subject}`], floor: true },
    { name: `referrers, pages of ${PAGE_ENTRIES}`, paths: [`/v2/bench/referrers/referrers/${subject}?${n}`] },
  ];
}
