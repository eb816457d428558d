import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatByteSize, parseByteSize } from './byte-size.ts';

describe('parseByteSize', () => {
  for (const [text, bytes] of [
    ['10 GiB', 10_737_418_240],
    ['512MiB', 536_870_912],
    ['64k', 65_536],
    ['5 GB', 5_000_000_000],
    ['1.5 KiB', 1536],
    ['123', 123],
    ['7 B', 7],
    ['-1', null],
    ['10 apples', null],
    ['1e3', null],
    ['', null],
  ] as const) {
    it(`${JSON.stringify(text)}, read, is ${bytes}`, () => assert.equal(parseByteSize(text), bytes));
  }

  it('any bytes, written and read, come back', () => {
    for (const bytes of [0, 1, 1000, 1024, 1536, 4 * 1024 ** 2, 5 * 1024 ** 4]) {
      assert.equal(parseByteSize(formatByteSize(bytes)), bytes);
    }
  });
});
