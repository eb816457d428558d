import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Explained, Explainer } from '../../../test/harness/explain.ts';
import { type Postgres, startPostgres } from '../../../test/harness/postgres.ts';
import { everyRead, everyWriteThatSearches, FEW_ROWS, IN_EVERY_PART } from '../contract/every-query.ts';
import { DEMO, digestFor, ensure, named, tagged } from '../contract/fixture.ts';
import type { Repository } from '../meta-store.ts';
import { kyselyOver } from './dialect.ts';
import { postgresWrites } from './groups.ts';
import { hotReadGroups } from './hot-reads.ts';
import { openTestStore } from './open-test-store.ts';

let postgres: Postgres;
let explainer: Explainer;
let repository: Repository;
before(async () => {
  postgres = await startPostgres({ durable: false });
  const url = await postgres.createDatabase();
  const store = await openTestStore(url);
  repository = await ensure(store, DEMO);
  await store.close();
  explainer = await Explainer.open(url);
});
after(async () => {
  await explainer.close();
  await postgres[Symbol.asyncDispose]();
});

async function explainEverything(): Promise<readonly Explained[]> {
  const db = kyselyOver(explainer.run);
  await everyRead(hotReadGroups(db, explainer.run), repository);
  await everyWriteThatSearches(postgresWrites(db), repository);
  return explainer.explained;
}

test('queries, every one, finds its rows through an index and in one part of each table', async () => {
  const explained = await explainEverything();
  const bad: string[] = [];
  for (const { sql, scans, parts } of explained) {
    if (!FEW_ROWS.some((known) => known.test(sql)) && scans.length > 0)
      bad.push(`scans ${scans.join()}: ${sql}`);
    const isEverywhere = IN_EVERY_PART.some((known) => known.test(sql));
    for (const [table, count] of parts) {
      // Two digests that are asked for may lie in two parts.
      const most = /in \(\$\d+, \$\d+\)/.test(sql) ? 2 : 1;
      if (!isEverywhere && count > most) bad.push(`${count} parts of ${table}: ${sql}`);
    }
  }
  assert.ok(explained.length > 50, `only ${explained.length} statements`);
  assert.deepEqual(bad, []);
});

test('reads, of many repositories at once, find each through an index', async () => {
  const reads = hotReadGroups(kyselyOver(explainer.run), explainer.run);
  const names = Array.from({ length: 9 }, (_, index) => named(`many/${index}`));
  for (const name of names)
    await postgresWrites(kyselyOver(explainer.run)).repositories.ensure(name, 'ann', 1);
  const before = explainer.explained.length;
  for (let time = 0; time < 2; time += 1) {
    await Promise.all(names.map((name) => reads.manifests.getByTag(name, tagged('t'))));
    await Promise.all(names.map((name) => reads.manifests.getByDigest(name, digestFor('a'))));
    await Promise.all(names.map((name) => reads.blobs.findLinked(name, digestFor('a'))));
  }
  const across = explainer.explained.slice(before).filter(({ sql }) => sql.includes('cross join lateral'));
  assert.equal(new Set(across.map(({ sql }) => sql)).size, 3);
  assert.deepEqual(
    across.flatMap(({ scans }) => scans),
    [],
  );
});

test('queries, the plan check, sees a scan and every part where they are needed', async () => {
  await explainer.run("select * from tags where started_by = 'nobody'", []);
  const last = explainer.explained.at(-1);
  assert.ok(last !== undefined && last.scans.length === 4);
  assert.equal(last.parts.get('tags'), 4);
});
