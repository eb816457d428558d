import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ByteCache } from './byte-cache.ts';

it('ByteCache, over its size, forgets what was used least recently', () => {
  const cache = new ByteCache({ bytesMax: 4096, entryBytesMax: 2048 });
  cache.put('a', new Uint8Array(1000));
  cache.put('b', new Uint8Array(1000));
  cache.put('c', new Uint8Array(1000));
  assert.notEqual(cache.get('a'), null);
  cache.put('d', new Uint8Array(1000));
  assert.equal(cache.get('b'), null);
  assert.notEqual(cache.get('a'), null);
});

it('ByteCache, given an entry over the limit of one, does not keep it and keeps the others', () => {
  const cache = new ByteCache({ bytesMax: 4096, entryBytesMax: 2048 });
  cache.put('small', new Uint8Array(10));
  cache.put('large', new Uint8Array(2048));
  assert.equal(cache.get('large'), null);
  assert.notEqual(cache.get('small'), null);
});

it('ByteCache, of no bytes, keeps nothing', () => {
  const cache = new ByteCache({ bytesMax: 0, entryBytesMax: 2048 });
  cache.put('a', new Uint8Array(1));
  assert.equal(cache.get('a'), null);
});
