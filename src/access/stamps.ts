import { createHmac, randomBytes } from 'node:crypto';
import type { MetaStore } from '../meta/meta-store.ts';

const KEY_SETTING = 'access.stamp_key';
const KEY_BYTES = 32;
const STAMP_BYTES = 16;

/**
 * Keyed hashes that mean the same in every process and after a restart: the key is in the ledger. What goes out of here
 * tells nothing to who has no key; and who has it must still not be able to guess passwords quickly, so a password goes in
 * only after a slow hash.
 */
export class Stamps {
  readonly #key: Buffer;

  constructor(key: Buffer) {
    this.#key = key;
  }

  hash(...parts: readonly string[]): Buffer {
    return createHmac('sha256', this.#key).update(JSON.stringify(parts)).digest();
  }

  stamp(...parts: readonly string[]): string {
    return this.hash(...parts)
      .subarray(0, STAMP_BYTES)
      .toString('base64url');
  }
}

export async function loadStamps(meta: MetaStore): Promise<Stamps> {
  const found = await meta.read.access.setting(KEY_SETTING);
  if (found !== null) return new Stamps(Buffer.from(found, 'base64'));
  const fresh = randomBytes(KEY_BYTES).toString('base64');
  const kept = await meta.transaction(async (tx) => {
    const other = await tx.access.setting(KEY_SETTING);
    if (other === null) await tx.access.putSetting(KEY_SETTING, fresh);
    return other ?? fresh;
  });
  return new Stamps(Buffer.from(kept, 'base64'));
}
