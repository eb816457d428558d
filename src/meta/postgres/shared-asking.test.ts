import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedAsking } from './shared-asking.ts';

/** Questions whose answers are given by hand; each is told how often it was asked before. */
function world() {
  const open: PromiseWithResolvers<number>[] = [];
  const question = (): Promise<number> => {
    const asked = Promise.withResolvers<number>();
    open.push(asked);
    return asked.promise;
  };
  return { asking: new SharedAsking<number>(), open, question };
}

test('ask, while one is under way, waits for the next, which all of them share', async () => {
  const { asking, open, question } = world();
  const first = asking.ask('a', question);
  const later = [asking.ask('a', question), asking.ask('a', question), asking.ask('a', question)];
  assert.equal(open.length, 1);
  open[0]?.resolve(1);
  assert.equal(await first, 1);
  assert.equal(open.length, 2);
  // Begun before this one asks: its answer may be older than the question.
  const last = asking.ask('a', question);
  open[1]?.resolve(2);
  assert.deepEqual(await Promise.all(later), [2, 2, 2]);
  open[2]?.resolve(3);
  assert.equal(await last, 3);
  assert.equal(asking.size, 0);
});

test('ask, another key, waits for nobody', async () => {
  const { asking, open, question } = world();
  const both = [asking.ask('a', question), asking.ask('b', question)];
  assert.equal(open.length, 2);
  for (const each of open) each.resolve(0);
  await Promise.all(both);
  assert.equal(asking.size, 0);
});

test('ask, after an answer was heard, asks anew', async () => {
  const { asking, open, question } = world();
  const first = asking.ask('a', question);
  open[0]?.resolve(1);
  await first;
  const second = asking.ask('a', question);
  assert.equal(open.length, 2);
  open[1]?.resolve(2);
  assert.equal(await second, 2);
});

test('ask, of one that fails, tells those who wait for it, and the next is asked all the same', async () => {
  const { asking, open, question } = world();
  const first = asking.ask('a', question);
  const second = asking.ask('a', question);
  open[0]?.reject(new Error('away'));
  await assert.rejects(first, /away/);
  open[1]?.resolve(2);
  assert.equal(await second, 2);
  assert.equal(asking.size, 0);
});
