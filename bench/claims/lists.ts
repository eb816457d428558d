import { getManyTimes } from '../load.ts';
import { alternate, atMost, type Claim, numberOf } from '../measure.ts';
import { seedLedger } from '../seed.ts';
import { startDrift } from '../servers/drift.ts';
import { newDirectory, withServers } from '../servers/server.ts';

const TAGS = 1_000_000;
const TAGGED_MANIFESTS = 1_000;
const REPOSITORIES = 100_000;
const REFERRERS = 10_000;
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
}

export const lists: Claim = {
  name: 'lists',
  title: `pages of ${PAGE_ENTRIES} of 1,000,000 tags and of 100,000 repositories, the page of 10,000 referrers, ${CONNECTIONS} connections`,
  async run({ rounds, seconds, scale }) {
    const directory = newDirectory('lists');
    const pages = await seedLists(directory, scale);
    return withServers([() => startDrift({ directory })], async ([server]) => {
      if (server === undefined) throw new Error('no server');
      const numbers = await alternate(pages, rounds, async ({ paths: [path = '', ...thenPaths] }) => {
        const headers = await server.authorize(['bench/tags', 'bench/referrers']);
        return getManyTimes(server, { path, thenPaths, headers, connections: CONNECTIONS, seconds });
      });
      const targets = pages.map(({ name }) =>
        atMost(`${name}: p99 ms`, numberOf(numbers, name, 'p99 ms'), P99_MILLISECONDS_MAX),
      );
      return { numbers, targets };
    });
  },
};

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
    { name: 'tags, first page', paths: [`/v2/bench/tags/tags/list?${n}`] },
    { name: 'tags, all along', paths: farTags },
    { name: 'catalog, first page', paths: [`/v2/_catalog?${n}`] },
    { name: 'catalog, all along', paths: farRepositories },
    // Without `n` the page is as large as clients read it: all of them.
    { name: 'referrers', paths: [`/v2/bench/referrers/referrers/${subject}`] },
    { name: `referrers, pages of ${PAGE_ENTRIES}`, paths: [`/v2/bench/referrers/referrers/${subject}?${n}`] },
  ];
}
