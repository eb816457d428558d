import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KEYS } from '../../src/config/keys.ts';
import { LIMIT_CASES } from './limit-cases.ts';

describe('limits', () => {
  it('every limit of the configuration, by its key, has a case here', () => {
    const limits = Object.entries(KEYS)
      .filter(([, { path }]) => path.startsWith('limits.') || path === 'storage.reserve')
      .map(([id]) => id);
    assert.deepEqual(Object.keys(LIMIT_CASES).sort(), limits.sort());
  });

  for (const [id, { promise, run }] of Object.entries(LIMIT_CASES)) {
    it(`${KEYS[id as keyof typeof KEYS].path}, one past it, ${promise}`, run);
  }
});
