import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLedgerClock } from './ledger-clock.ts';

const SECONDS = 1000;

test("openLedgerClock, of a ledger with a clock of its own, goes by that and tells the machine's difference", async () => {
  const ahead = 90 * SECONDS;
  const clock = await openLedgerClock({ now: async () => Date.now() - ahead });
  const before = Date.now();
  const now = clock.now();
  const after = Date.now();
  // The wall clock and the monotonic one are read at different moments, and round.
  assert.ok(now >= before - ahead - SECONDS && now <= after - ahead + SECONDS);
  assert.ok(Math.abs(clock.skewMillis() - ahead) <= SECONDS);
  clock.close();
});

test('openLedgerClock, when the wall clock is set meanwhile, goes on as before', async (context) => {
  const clock = await openLedgerClock({ now: async () => 5_000_000 });
  const before = clock.now();
  context.mock.timers.enable({ apis: ['Date'], now: Date.now() + 3600 * SECONDS });
  assert.ok(clock.now() - before < 60 * SECONDS);
  clock.close();
});

test('openLedgerClock, of a ledger that does not answer, throws', async () => {
  const silent = openLedgerClock({
    now: async () => {
      throw new Error('away');
    },
  });
  await assert.rejects(silent, /away/);
});

test("openLedgerClock, of a ledger without a clock, is the machine's", async () => {
  const clock = await openLedgerClock({ now: null });
  assert.equal(clock.skewMillis(), 0);
  assert.ok(Math.abs(clock.now() - Date.now()) < SECONDS);
  clock.close();
});
