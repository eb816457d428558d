import { randomBytes } from 'node:crypto';
import type { MetaStore } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';
import { hashPassword } from './password-hash.ts';

/** 144 bits, as 24 characters without any that a shell or a URL would read otherwise. */
const PASSWORD_BYTES = 18;

/**
 * There is no built-in password: a registry whose configuration names nobody and whose ledger knows nobody gets an
 * administrator with a random one. The caller prints it, once; only its hash is kept. Null when there are users.
 */
export async function ensureFirstAdmin(deps: {
  readonly meta: MetaStore;
  readonly clock: Clock;
  /** Whether the configuration (or an htpasswd file) names users. */
  readonly configured?: boolean;
}): Promise<{ readonly name: 'admin'; readonly password: string } | null> {
  const { meta, clock } = deps;
  if (deps.configured === true || (await meta.read.access.countUsers()) > 0) return null;
  const password = randomBytes(PASSWORD_BYTES).toString('base64url');
  const passwordHash = await hashPassword(password);
  const now = clock.now();
  const created = await meta.transaction(async (tx) => {
    if ((await tx.access.countUsers()) > 0) return false;
    await tx.access.putUser({ name: 'admin', passwordHash, administrator: true, changedAt: now }, now);
    return true;
  });
  return created ? { name: 'admin', password } : null;
}
