import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GatheredAsking } from './gathered-asking.ts';

const ITEMS_MAX = 3;
/** Longer than any test, but for the one that is about it. */
const LONG_MILLISECONDS = 60_000;

/** Questions whose answers are given by hand: each of its items, and what was said. */
function world(waitMillisMax = LONG_MILLISECONDS) {
  const open: { readonly items: readonly string[]; say(text: string): void; fail(): void }[] = [];
  const question = (items: ReadonlyMap<string, string>): Promise<ReadonlyMap<string, string>> => {
    const asked = Promise.withResolvers<ReadonlyMap<string, string>>();
    open.push({
      items: [...items.values()],
      say: (text) => asked.resolve(new Map([...items].map(([key, item]) => [key, `${item} ${text}`]))),
      fail: () => asked.reject(new Error('away')),
    });
    return asked.promise;
  };
  const asking = new GatheredAsking<string, string>({ itemsMax: ITEMS_MAX, waitMillisMax });
  const ask = (item: string, kind = 'kind') => asking.ask(kind, [`key of ${item}`, item], question);
  return { asking, open, ask };
}

test('ask, while one is under way, waits for the next, where all go together and equal ones once', async () => {
  const { asking, open, ask } = world();
  const first = ask('a');
  const later = [ask('a'), ask('b'), ask('a'), ask('b')];
  assert.deepEqual(
    open.map(({ items }) => items),
    [['a']],
  );
  open[0]?.say('1');
  assert.equal(await first, 'a 1');
  assert.deepEqual(open[1]?.items, ['a', 'b']);
  // Begun before this one asks: its answer may be older than the question.
  const last = ask('a');
  open[1]?.say('2');
  assert.deepEqual(await Promise.all(later), ['a 2', 'b 2', 'a 2', 'b 2']);
  open[2]?.say('3');
  assert.equal(await last, 'a 3');
  assert.equal(asking.size, 0);
});

test('ask, of more than one question takes, is asked in several beside each other', async () => {
  const { asking, open, ask } = world();
  const first = ask('a');
  const later = ['b', 'c', 'd', 'e', 'b'].map((item) => ask(item));
  open[0]?.say('1');
  await first;
  assert.deepEqual(
    open.slice(1).map(({ items }) => items),
    [['b', 'c', 'd'], ['e']],
  );
  open[2]?.say('3');
  assert.equal(await later[3], 'e 3');
  const last = ask('f');
  assert.equal(open.length, 3);
  open[1]?.say('2');
  assert.deepEqual(await Promise.all(later), ['b 2', 'c 2', 'd 2', 'e 3', 'b 2']);
  open[3]?.say('4');
  assert.equal(await last, 'f 4');
  assert.equal(asking.size, 0);
});

test('ask, of another kind, waits for nobody', async () => {
  const { asking, open, ask } = world();
  const both = [ask('a'), ask('a', 'other')];
  assert.equal(open.length, 2);
  for (const each of open) each.say('');
  await Promise.all(both);
  assert.equal(asking.size, 0);
});

test('ask, for something that is not there, answers undefined', async () => {
  const asking = new GatheredAsking<string, string>({ itemsMax: 1, waitMillisMax: LONG_MILLISECONDS });
  assert.equal(await asking.ask('kind', ['a', 'a'], async () => new Map([['b', 'b']])), undefined);
});

test('ask, while one takes long, waits for it no longer than that', async () => {
  const { asking, open, ask } = world(5);
  const slow = ask('a');
  const second = [ask('a'), ask('b')];
  await sleep(20);
  assert.deepEqual(open[1]?.items, ['a', 'b']);
  open[1]?.say('2');
  assert.deepEqual(await Promise.all(second), ['a 2', 'b 2']);
  assert.equal(asking.size, 0);
  const third = ask('a');
  // The slow one ends now: that is nothing to those that came after it.
  open[0]?.say('1');
  assert.equal(await slow, 'a 1');
  const fourth = ask('c');
  assert.equal(open.length, 3);
  open[2]?.say('3');
  assert.equal(await third, 'a 3');
  open[3]?.say('4');
  assert.equal(await fourth, 'c 4');
  assert.equal(asking.size, 0);
});

test('ask, a question that throws at once, is as one that fails', async () => {
  const { asking, open, ask } = world();
  const broken = asking.ask('kind', ['a', 'a'], () => {
    throw new Error('at once');
  });
  await assert.rejects(broken, /at once/);
  const next = ask('a');
  open[0]?.say('1');
  assert.equal(await next, 'a 1');
});

test('ask, after an answer was heard, asks anew', async () => {
  const { open, ask } = world();
  const first = ask('a');
  open[0]?.say('1');
  await first;
  const second = ask('a');
  assert.equal(open.length, 2);
  open[1]?.say('2');
  assert.equal(await second, 'a 2');
});

test('ask, of one that fails, tells those who were in it, and the next is asked all the same', async () => {
  const { asking, open, ask } = world();
  const first = ask('a');
  const second = [ask('a'), ask('b')];
  open[0]?.fail();
  await assert.rejects(first, /away/);
  open[1]?.fail();
  for (const each of second) await assert.rejects(each, /away/);
  const third = ask('a');
  open[2]?.say('3');
  assert.equal(await third, 'a 3');
  assert.equal(asking.size, 0);
});
