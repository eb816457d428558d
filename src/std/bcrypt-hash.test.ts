import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bcryptCost, isBcrypt } from './bcrypt-hash.ts';

const REST = `$${'a'.repeat(53)}`;

const CASES = [
  ['$2b$04', 4, true],
  ['$2a$12', 12, true],
  ['$2y$17', 17, true],
  ['$2y$18', 18, false],
  ['$2b$31', 31, false],
  ['$2b$03', null, false],
  ['$2x$12', null, false],
  ['$2$12', null, false],
  [' $2b$12', null, false],
] as const;

for (const [start, cost, usable] of CASES) {
  test(`isBcrypt, ${JSON.stringify(start)} and a hash, is ${usable}`, () => {
    assert.equal(bcryptCost(start + REST), cost);
    assert.equal(isBcrypt(start + REST), usable);
  });
}

test('isBcrypt, a hash cut short or with more behind it, is false', () => {
  const whole = `$2b$12${REST}`;
  for (const text of [whole.slice(0, -1), `${whole}a`, `${whole}\n`]) assert.equal(isBcrypt(text), false);
});
