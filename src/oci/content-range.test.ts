import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseContentRange } from './content-range.ts';

test('parseContentRange, the forms that clients send, are read', () => {
  for (const header of ['10-19', 'bytes 10-19', 'Bytes 10-19/100', 'bytes 10-19/*', '10-19/20', ' 10-19 ']) {
    assert.deepEqual(parseContentRange(header), { start: 10, end: 19 }, header);
  }
  assert.deepEqual(parseContentRange('0-0'), { start: 0, end: 0 });
  assert.deepEqual(parseContentRange('0-9007199254740991'), { start: 0, end: Number.MAX_SAFE_INTEGER });
  assert.deepEqual(parseContentRange('9007199254740990-9007199254740991/9007199254740992'), {
    start: Number.MAX_SAFE_INTEGER - 1,
    end: Number.MAX_SAFE_INTEGER,
  });
  assert.deepEqual(parseContentRange('0-2/3'), { start: 0, end: 2 });
});

test('parseContentRange, anything else, is null', () => {
  const refused = [
    '',
    '-',
    '1-',
    '0-',
    '-1',
    '2-1',
    '0--1',
    'a-b',
    '0x1-2',
    '1.0-2',
    '1-2-3',
    '1-2, 3-4',
    'bytes=1-2',
    'bytes1-2',
    'items 1-2',
    '1-2/',
    '1-2/x',
    '0-9007199254740992',
    `${'0'.repeat(16)}1-2`,
    `1-${'0'.repeat(16)}2`,
    `1-2/${'0'.repeat(16)}3`,
    `0-${'9'.repeat(400)}`,
  ];
  for (const header of refused) assert.equal(parseContentRange(header), null, JSON.stringify(header));
});
