import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Deadlines } from './deadlines.ts';

const SHORT = 0.05;
const LONG = 0.5;
const FOR_EVER = 1_000;

/** Seconds until it was given up; null when that took longer than `LONG`. */
async function givenUpAfter(
  deadlines: Deadlines,
  answeredSecondsMax: number,
  work: (onProgress: () => void) => Promise<void> = () => Promise.resolve(),
): Promise<number | null> {
  const since = performance.now();
  const { promise, resolve } = Promise.withResolvers<number | null>();
  const deadline = deadlines.begin({ secondsMax: SHORT, answeredSecondsMax }, () =>
    resolve((performance.now() - since) / 1000),
  );
  await work(deadline.onProgress);
  const patience = setTimeout(() => resolve(null), LONG * 1000);
  const seconds = await promise;
  clearTimeout(patience);
  deadline.end();
  return seconds;
}

test('a silent request, the service does not answer, is given up', async () => {
  const deadlines = new Deadlines(() => Promise.resolve(false));
  const seconds = await givenUpAfter(deadlines, FOR_EVER);
  assert.ok(seconds !== null && seconds >= SHORT * 0.9);
});

test('a silent request, the service answers, is spared, and not for ever', async () => {
  const deadlines = new Deadlines(() => Promise.resolve(true));
  assert.equal(await givenUpAfter(deadlines, FOR_EVER), null);
  const seconds = await givenUpAfter(deadlines, 3 * SHORT);
  assert.ok(seconds !== null && seconds >= 3 * SHORT * 0.9);
});

test('silent requests, many at once, make the service be asked once; with no more patience, not at all', async () => {
  let asked = 0;
  const deadlines = new Deadlines(async () => {
    asked += 1;
    await sleep(LONG * 1000);
    return false;
  });
  assert.ok((await givenUpAfter(deadlines, SHORT)) !== null);
  assert.equal(asked, 0);
  await Promise.all([1, 2, 3].map(() => givenUpAfter(deadlines, FOR_EVER)));
  assert.equal(asked, 1);
});

test('a request that goes on, has all of its time again each time', async () => {
  let asked = 0;
  const deadlines = new Deadlines(() => {
    asked += 1;
    return Promise.resolve(false);
  });
  const seconds = await givenUpAfter(deadlines, FOR_EVER, async (onProgress) => {
    const until = performance.now() + 4 * SHORT * 1000;
    // Faster than the timer, however late that is.
    while (performance.now() < until) {
      onProgress();
      await new Promise(setImmediate);
    }
    assert.equal(asked, 0);
  });
  assert.ok(seconds !== null && seconds >= 5 * SHORT * 0.9);
});

test('a request that has ended, while the service is asked, is not given up', async () => {
  const asking = Promise.withResolvers<boolean>();
  let wasAsked = () => {};
  const asked = new Promise<void>((resolve) => {
    wasAsked = resolve;
  });
  const deadlines = new Deadlines(() => {
    wasAsked();
    return asking.promise;
  });
  let passed = 0;
  const deadline = deadlines.begin({ secondsMax: SHORT, answeredSecondsMax: FOR_EVER }, () => {
    passed += 1;
  });
  await asked;
  deadline.end();
  asking.resolve(false);
  await sleep(SHORT * 1000);
  assert.equal(passed, 0);
});
