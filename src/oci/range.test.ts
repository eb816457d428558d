import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RegistryError } from './error-codes.ts';
import type { ByteRange } from './range.ts';
import { parseRange } from './range.ts';

function show(header: string, sizeBytes: number, rangesMax = 10): string {
  try {
    const ranges = parseRange(header, sizeBytes, rangesMax);
    return ranges === null ? 'whole' : ranges.map(({ start, end }) => `${start}-${end}`).join(',');
  } catch (error) {
    assert.ok(error instanceof RegistryError);
    return error.code;
  }
}

test('parseRange, one range, is laid over the blob', () => {
  const cases: [string, string][] = [
    ['bytes=0-0', '0-0'],
    ['bytes=0-99', '0-99'],
    ['bytes=10-', '10-99'],
    ['bytes=99-', '99-99'],
    ['bytes=-1', '99-99'],
    ['bytes=-100', '0-99'],
    ['bytes=-500', '0-99'],
    ['bytes=50-500', '50-99'],
    ['bytes=50-100', '50-99'],
    ['bytes=-99', '1-99'],
    ['bytes=0-99999999999999999999999999', '0-99'],
    ['bytes=-99999999999999999999999999', '0-99'],
    ['Bytes = 1-2', '1-2'],
    ['bytes= 1-2 ', '1-2'],
    ['bytes=00001-0002', '1-2'],
    ['bytes=,1-2,', '1-2'],
  ];
  for (const [header, ranges] of cases) assert.equal(show(header, 100), ranges, header);
});

test('parseRange, what is no byte range, is ignored', () => {
  const ignored = [
    '',
    'bytes',
    'bytes=',
    'bytes=,',
    'bytes=-',
    'bytes=a-b',
    'bytes=1',
    'bytes=1-2-3',
    'bytes=--1',
    'bytes=+1-2',
    'bytes=1 - 2',
    'bytes=0x1-2',
    'bytes=1.5-2',
    'items=0-1',
    'bytes:0-1',
    'bytes=0-1;2-3',
    'bytes=0-1,x',
    'bytes=\u0661-2',
  ];
  for (const header of ignored) assert.equal(show(header, 100), 'whole', JSON.stringify(header));
});

test('parseRange, nothing within the blob, is not satisfiable', () => {
  for (const header of [
    'bytes=100-',
    'bytes=100-200',
    'bytes=-0',
    'bytes=500-0',
    'bytes=5-4',
    'bytes=100-,200-',
    'bytes=99999999999999999999-',
  ]) {
    assert.equal(show(header, 100), 'RANGE_NOT_SATISFIABLE', header);
  }
  assert.throws(
    () => parseRange('bytes=100-', 100, 1),
    (error) => error instanceof RegistryError && error.headers['Content-Range'] === 'bytes */100',
  );
});

test('parseRange, a backward range among others, refuses them all', () => {
  assert.equal(show('bytes=0-1,5-4', 100), 'RANGE_NOT_SATISFIABLE');
});

test('parseRange, an empty blob, satisfies only a suffix, by the whole of it', () => {
  assert.equal(show('bytes=0-', 0), 'RANGE_NOT_SATISFIABLE');
  assert.equal(show('bytes=0-0', 0), 'RANGE_NOT_SATISFIABLE');
  assert.equal(show('bytes=-0', 0), 'RANGE_NOT_SATISFIABLE');
  assert.equal(show('bytes=-1', 0), 'whole');
});

test('parseRange, several ranges, keep their order and are not merged', () => {
  assert.equal(show('bytes=50-59,0-9,10-19', 100), '50-59,0-9,10-19');
  assert.equal(show('bytes=0-0, 99-, 50-50', 100), '0-0,99-99,50-50');
  assert.equal(show('bytes=-10,0-9', 100), '90-99,0-9');
});

test('parseRange, several ranges of which some lie beyond the end, loses those', () => {
  assert.equal(show('bytes=0-9,100-,-0,200-300', 100), '0-9');
});

test('parseRange, overlapping ranges, are too many', () => {
  for (const header of [
    'bytes=0-9,9-10',
    'bytes=0-9,0-9',
    'bytes=5-,0-',
    'bytes=0-50,-60',
    'bytes=20-30,0-10,25-26',
  ]) {
    assert.equal(show(header, 100), 'RANGES_TOO_MANY', header);
  }
});

test('parseRange, more ranges than served, are too many', () => {
  assert.equal(show('bytes=0-0,2-2,4-4', 100, 3), '0-0,2-2,4-4');
  assert.equal(show('bytes=0-0,2-2,4-4,6-6', 100, 3), 'RANGES_TOO_MANY');
  assert.equal(show(`bytes=${'0-0,'.repeat(100_000)}`, 100, 3), 'RANGES_TOO_MANY');
});

test('parseRange, disjoint ranges in any order, come back as they were', () => {
  const cuts = fc.uniqueArray(fc.nat({ max: 999 }), { minLength: 2, maxLength: 40 });
  fc.assert(
    fc.property(cuts, fc.func(fc.integer()), (numbers, weigh) => {
      const sorted = [...numbers].sort((a, b) => a - b);
      const ranges: ByteRange[] = [];
      for (let index = 0; index + 1 < sorted.length; index += 2) {
        ranges.push({ start: sorted[index]!, end: sorted[index + 1]! });
      }
      ranges.sort((a, b) => weigh(a.start) - weigh(b.start));
      const header = `bytes=${ranges.map(({ start, end }) => `${start}-${end}`).join(', ')}`;
      assert.deepEqual(parseRange(header, 1000, 20), ranges);
    }),
  );
});

test('parseRange, any header, gives ranges within the blob, null or an error of its own', () => {
  const header = fc.string({ unit: fc.constantFrom('0', '1', '9', '-', ',', ' ', '='), maxLength: 20 });
  fc.assert(
    fc.property(header, fc.nat({ max: 200 }), (text, sizeBytes) => {
      try {
        for (const { start, end } of parseRange(`bytes=${text}`, sizeBytes, 3) ?? []) {
          assert.ok(0 <= start && start <= end && end < sizeBytes);
        }
      } catch (error) {
        assert.ok(error instanceof RegistryError);
        assert.match(error.code, /^RANGE/);
      }
    }),
    { numRuns: 2000 },
  );
});

test('parseRange, on an empty blob with any non-zero suffix among others, is the whole blob', () => {
  assert.equal(show('bytes=0-0,-5', 0), 'whole');
});

test('parseRange, a suffix on a blob of one byte, is that byte', () => {
  assert.equal(show('bytes=-1', 1), '0-0');
  assert.equal(show('bytes=-9', 1), '0-0');
});

test('parseRange, a value as long as is read and one longer, are answered and refused', () => {
  const padded = (length: number): string => `bytes=${'0-0'.padEnd(length - 6, ' ')}`;
  assert.equal(show(padded(65_536), 10), '0-0');
  assert.equal(show(padded(65_537), 10), 'RANGES_TOO_MANY');
});
