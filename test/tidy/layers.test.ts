import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findChain, readImportGraph } from './import-graph.ts';

/** Layers import only downwards (ARCHITECTURE.md, "Layers"). Lower numbers know nothing of higher ones. */
const LAYERS: readonly (readonly [prefix: string, layer: number])[] = [
  ['src/oci/', 0],
  ['src/std/', 0],
  ['src/blobs/', 1],
  ['src/meta/', 1],
  ['src/upstream/', 1],
  ['src/telemetry/', 1],
  ['src/config/', 1],
  ['src/registry/', 2],
  ['src/access/', 2],
  ['src/events/', 2],
  ['src/http/', 3],
  ['src/jobs/', 3],
  ['src/process/', 4],
  ['src/ctl/', 4],
  ['src/app.ts', 4],
  ['bin/', 5],
];

/** Packages that are known in one place only, so that each can be replaced. */
const PACKAGE_HOMES: Readonly<Record<string, readonly string[]>> = {
  kysely: ['src/meta/'],
  'node:sqlite': ['src/meta/sqlite/'],
  pg: ['src/meta/postgres/'],
  '@aws-sdk/client-s3': ['src/blobs/s3/'],
  '@aws-sdk/s3-request-presigner': ['src/blobs/s3/'],
  fastify: ['src/http/'],
  jose: ['src/access/'],
  bcryptjs: ['src/access/'],
  pino: ['src/telemetry/'],
  'prom-client': ['src/telemetry/'],
  'smol-toml': ['src/config/'],
  commander: ['bin/', 'src/ctl/'],
};

/** What stands behind the contracts: rules never reach it, not even through somebody else. */
const DRIVERS =
  /^src\/(blobs\/(fs|memory|s3|ghostbay|tiered)\/|meta\/(sqlite|postgres)\/|blobs\/open-|meta\/open-)/;
const RULES = /^src\/(registry|access|events)\//;

const graph = readImportGraph(['src/**/*.ts', 'bin/*.ts']);
const sources = [...graph.keys()].filter(
  (file) => !file.endsWith('.test.ts') && !file.endsWith('/contract.ts'),
);

function layerOf(file: string): number | null {
  return LAYERS.find(([prefix]) => file.startsWith(prefix))?.[1] ?? null;
}

describe('layers', () => {
  it('every source file, by its folder, belongs to a layer', () => {
    assert.deepEqual(
      sources.filter((file) => layerOf(file) === null),
      [],
    );
  });

  it('an import, from a lower to a higher layer, does not exist', () => {
    const upwards = sources.flatMap((file) =>
      (graph.get(file) ?? [])
        .filter(({ target }) => (layerOf(target) ?? -1) > (layerOf(file) ?? 0))
        .map(({ target }) => `${file} -> ${target}`),
    );
    assert.deepEqual(upwards, []);
  });

  it('a rule, through any chain of imports, reaches no driver', () => {
    const chains = sources
      .filter((file) => RULES.test(file))
      .map((file) => findChain(graph, file, (target) => DRIVERS.test(target)))
      .filter((chain) => chain !== null)
      .map((chain) => chain.join(' -> '));
    assert.deepEqual(chains, []);
  });

  it('a package with a home, outside of it, is not imported', () => {
    const strays = sources.flatMap((file) =>
      (graph.get(file) ?? [])
        .filter(({ target }) => {
          const homes = PACKAGE_HOMES[target];
          return homes !== undefined && !homes.some((home) => file.startsWith(home));
        })
        .map(({ target }) => `${file} -> ${target}`),
    );
    assert.deepEqual(strays, []);
  });

  it('an import graph, on its own run-time imports, has no cycle', () => {
    const cycles = sources
      .map((file) => findChain(graph, file, (target) => target === file))
      .filter((chain) => chain !== null)
      .map((chain) => chain.join(' -> '));
    assert.deepEqual(cycles, []);
  });
});
