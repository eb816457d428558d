import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newUploadId, parseUploadId } from './upload-id.ts';

test('newUploadId, many, are all different and are read back', () => {
  const ids = Array.from({ length: 1000 }, newUploadId);
  assert.equal(new Set(ids).size, 1000);
  for (const id of ids) assert.equal(parseUploadId(id), id);
});

test('parseUploadId, other text, is null', () => {
  const id = newUploadId();
  for (const text of [
    '',
    id.slice(1),
    `${id}0`,
    `${id}\n`,
    `../${id.slice(3)}`,
    `G${id.slice(1)}`,
    'A'.repeat(32),
  ]) {
    assert.equal(parseUploadId(text), null, JSON.stringify(text));
  }
});
