/**
 * SIGKILL to nodes and to PostgreSQL in the middle of pushes and deletes. `KILLS=N` does more (`npm test -- nodes/kill --kills N`);
 * `CRASH_SEED` chooses the same acts again, though not the same moments.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { it } from 'node:test';
import { SeededRandom } from '../crash/seeded-random.ts';
import { NodeLane } from './node-lane.ts';

const KILLS_DEFAULT = 210;
/** One kill in so many is the database's. */
const DATABASE_EVERY = 14;
/** Less than one act done whole in so many kills would be no load to speak of. */
const ACTS_SHARE = 10;

const kills = Number(process.env.KILLS ?? KILLS_DEFAULT);
const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31));
console.log(`CRASH_SEED=${seed} KILLS=${kills}`);

it('three nodes, killed and their database too, keep what any of them acknowledged and show nothing half', async () => {
  await using lane = new NodeLane(new SeededRandom(seed));
  await lane.start();
  const database = Math.max(1, Math.floor(kills / DATABASE_EVERY));
  const acts = await lane.killUnderLoad({ nodes: kills - database, database });
  console.log(`${kills} kills, ${database} of them of the database; ${acts} acts done whole meanwhile`);
  assert.ok(acts > kills / ACTS_SHARE, `only ${acts} acts were done while ${kills} processes died`);
  await lane.checkTheEnd();
});
