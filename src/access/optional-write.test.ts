import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Unavailable } from '../std/unavailable.ts';
import { optionalWrite } from './optional-write.ts';

test('optionalWrite, a ledger that is full, goes on', async () => {
  const full = new Unavailable('meta store', 'disk full', { retryable: false, full: true });
  await assert.doesNotReject(optionalWrite(Promise.reject(full)));
});

test('optionalWrite, any other error, throws', async () => {
  await assert.rejects(optionalWrite(Promise.reject(new TypeError('x'))), TypeError);
});
