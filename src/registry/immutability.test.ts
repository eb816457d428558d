import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { Tag } from '../oci/reference.ts';
import { createImmutability } from './immutability.ts';

const before = digestOf('sha256', Buffer.from('before'));
const after = digestOf('sha256', Buffer.from('after'));

describe('immutability', () => {
  const immutability = createImmutability(['v?.*', 'release']);
  const refused = (error: unknown): boolean => error instanceof RegistryError && error.code === 'DENIED';

  it('check, of a protected tag that moves or ends, refuses with a sentence', () => {
    for (const tag of ['v1.0', 'v2.1-rc', 'release'] as Tag[]) {
      assert.throws(() => immutability.check(tag, { before, after }), refused);
      assert.throws(() => immutability.check(tag, { before, after: null }), refused);
    }
  });

  it('check, of a protected tag that is new or stays the same, agrees', () => {
    immutability.check('release' as Tag, { before: null, after });
    immutability.check('release' as Tag, { before, after: before });
  });

  it('check, of a tag that matches only in part, agrees', () => {
    for (const tag of ['v10', 'xv1.0', 'releases', 'RELEASE', 'prerelease'] as Tag[])
      immutability.check(tag, { before, after });
  });
});
