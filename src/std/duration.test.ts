import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatDuration, parseDuration } from './duration.ts';

describe('parseDuration', () => {
  for (const [text, seconds] of [
    ['30s', 30],
    ['15m', 900],
    ['1.5h', 5400],
    ['7d', 604_800],
    ['2 W', 1_209_600],
    ['90', 90],
    ['0', 0],
    ['0.5s', null],
    ['-1s', null],
    ['1y', null],
    ['', null],
  ] as const) {
    it(`${JSON.stringify(text)}, read, is ${seconds}`, () => assert.equal(parseDuration(text), seconds));
  }

  it('any whole seconds, written and read, come back', () => {
    for (const seconds of [0, 1, 60, 90, 3600, 86_400, 90_061]) {
      assert.equal(parseDuration(formatDuration(seconds)), seconds);
    }
  });
});
