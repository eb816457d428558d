/**
 * SIGKILL to the whole process group at every step of every form of writing, under load. `KILLS=N`
 * (`npm test -- crash/kill --kills N`) does more, `CRASH_SEED` repeats a run: what is killed where depends on the seed alone.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { it } from 'node:test';
import { CrashLane, killStarts, listPlaces, type Place } from './crash-lane.ts';
import { Expected } from './expected.ts';
import { SeededRandom } from './seeded-random.ts';

const KILLS_DEFAULT = 300;
/** Directories on which registries are killed side by side. */
const LANES = 2;
const KILLS_PER_DIRECTORY = 60;
const START_KILLS = 10;

const kills = Number(process.env.KILLS ?? KILLS_DEFAULT);
const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31));
console.log(`CRASH_SEED=${seed} KILLS=${kills}`);

it('a registry, killed at any step of any write, keeps what it acknowledged and shows nothing half', async () => {
  const random = new SeededRandom(seed);
  const places = await listPlaces();
  assert.ok(places.length > 200, `only ${places.length} places to be killed at`);
  const planned: Place[] = [];
  while (planned.length < kills) planned.push(...random.shuffled(places).slice(0, kills - planned.length));
  const directories = Math.max(LANES, Math.ceil(kills / KILLS_PER_DIRECTORY));
  const shares = Array.from({ length: directories }, (_, at) =>
    planned.filter((_place, index) => index % directories === at),
  ).map((share, number) => ({ share, number }));
  let killed = 0;
  let hit = 0;
  await Promise.all(
    Array.from({ length: LANES }, async () => {
      for (let next = shares.shift(); next !== undefined; next = shares.shift()) {
        await using lane = new CrashLane(new SeededRandom(seed + next.number + 1));
        for (const place of next.share) if (await lane.killAt(place)) hit += 1;
        await lane.checkTheEnd();
        killed += next.share.length;
      }
    }),
  );
  console.log(`${killed} kills at ${places.length} places, ${hit} of them exactly there`);
  assert.equal(killed, kills);
  assert.ok(hit > (kills * 3) / 4, `only ${hit} of ${kills} were killed where they were meant to be`);
});

it('Expected, a lost, forgotten or half made change, fails', () => {
  const expected = new Expected();
  expected.acknowledge(expected.attempt([['tag', 'one']]));
  assert.throws(() => expected.settle(new Map([['tag', null]])), /should be one/);
  expected.attempt([
    ['tag', 'two'],
    ['manifest', 'here'],
  ]);
  const half = new Map([
    ['tag', 'two'],
    ['manifest', null],
  ]);
  assert.throws(() => expected.settle(half), /half of a change/);
});

it('a first start, killed at any step, is a whole first start the next time', async () => {
  const count = await killStarts(new SeededRandom(seed), START_KILLS);
  assert.ok(count > START_KILLS, `only ${count} steps`);
});
