import { createHash, randomBytes } from 'node:crypto';
import type { MetaStore } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';
import { optionalWrite } from './optional-write.ts';
import type { User, UserDirectory } from './user-directory.ts';

/** Long-lived and opaque: what `docker login` keeps instead of the password. */
export interface RefreshTokens {
  /** A token for this user as they are now: another password ends it. */
  issue(user: User, clientId: string): Promise<string>;
  /** Whom the token stands for, null when it is not valid (any more). */
  redeem(token: string): Promise<User | null>;
}

const TOKEN_BYTES = 32;
const PREFIX = 'drift_rt_';
const FORM = /^drift_rt_[A-Za-z0-9_-]{43}$/;
/** The last use is noted, but not on each: it would cost every pull a write. */
const TOUCH_EVERY_MS = 10 * 60_000;

export interface RefreshTokenDependencies {
  readonly meta: MetaStore;
  readonly clock: Clock;
  readonly users: UserDirectory;
  readonly service: string;
  readonly lifetimeSeconds: number;
}

export function createRefreshTokens(deps: RefreshTokenDependencies): RefreshTokens {
  const { meta, clock, users, service } = deps;

  async function issue(user: User, clientId: string): Promise<string> {
    const token = PREFIX + randomBytes(TOKEN_BYTES).toString('base64url');
    const now = clock.now();
    await meta.transaction((tx) =>
      tx.access.putRefreshToken({
        tokenHash: hashOf(token),
        userName: user.principal.name,
        service,
        clientId,
        stamp: user.stamp,
        createdAt: now,
        usedAt: now,
        expiresAt: now + deps.lifetimeSeconds * 1000,
      }),
    );
    return token;
  }

  /**
   * The client's id is recorded, not compared: it is public, and `docker login` gets its token as `docker` while the
   * engine redeems it as `containerd-client`.
   */
  async function redeem(token: string): Promise<User | null> {
    if (!FORM.test(token)) return null;
    const tokenHash = hashOf(token);
    const row = await meta.read.access.refreshToken(tokenHash);
    const now = clock.now();
    if (row === null || row.service !== service || row.expiresAt <= now) return null;
    const user = await users.find(row.userName);
    if (user === null || user.stamp !== row.stamp) return null;
    if (row.usedAt + TOUCH_EVERY_MS <= now) {
      await optionalWrite(
        meta.transaction((tx) => tx.access.touchRefreshToken(tokenHash, now), { durable: false }),
      );
    }
    return user;
  }

  return { issue, redeem };
}

/** A fast hash will do: the token is random. */
function hashOf(token: string): Uint8Array {
  return createHash('sha256').update(token).digest();
}
