import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PatientReader } from './patient-reader.ts';

const SHORT_MILLISECONDS = 5;
const LONG_MILLISECONDS = 60_000;

describe('PatientReader', () => {
  it('hasNextWithin, a value that comes later, is false and loses nothing', async () => {
    const gate = Promise.withResolvers<void>();
    const reader = new PatientReader(
      (async function* () {
        yield 1;
        await gate.promise;
        yield 2;
      })(),
    );
    assert.equal(await reader.hasNextWithin(LONG_MILLISECONDS), true);
    assert.equal(await reader.hasNextWithin(LONG_MILLISECONDS), true);
    assert.deepEqual(await reader.next(), { done: false, value: 1 });
    assert.equal(await reader.hasNextWithin(SHORT_MILLISECONDS), false);
    assert.equal(await reader.hasNextWithin(SHORT_MILLISECONDS), false);
    gate.resolve();
    assert.deepEqual(await reader.next(), { done: false, value: 2 });
    assert.equal(await reader.hasNextWithin(LONG_MILLISECONDS), true);
    assert.equal((await reader.next()).done, true);
  });

  it('close, while a value is waited for, tells the source when that has come', async () => {
    const gate = Promise.withResolvers<number>();
    const closed = Promise.withResolvers<void>();
    const reader = new PatientReader(
      (async function* () {
        try {
          yield await gate.promise;
        } finally {
          closed.resolve();
        }
      })(),
    );
    assert.equal(await reader.hasNextWithin(SHORT_MILLISECONDS), false);
    reader.close();
    gate.resolve(1);
    await closed.promise;
  });

  it('a source that fails while it is waited for, throws that to whoever waits', async () => {
    const fail = Promise.withResolvers<number>();
    const reader = new PatientReader(
      (async function* () {
        yield await fail.promise;
      })(),
    );
    assert.equal(await reader.hasNextWithin(SHORT_MILLISECONDS), false);
    fail.reject(new Error('the source broke'));
    await assert.rejects(reader.hasNextWithin(LONG_MILLISECONDS), /the source broke/);
    await assert.rejects(reader.next(), /the source broke/);
  });
});
