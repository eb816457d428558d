import type { AuthConfig } from '../config/config.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import { type AccessTokens, createAccessTokens } from './access-tokens.ts';
import { Bcrypt } from './bcrypt.ts';
import { createGuard, type Guard } from './guard.ts';
import { createLoginThrottle } from './login-throttle.ts';
import { PasswordChecks } from './password-checks.ts';
import { createPasswordLogins } from './password-logins.ts';
import { createRefreshTokens } from './refresh-tokens.ts';
import { createSigningKeys } from './signing-keys.ts';
import { loadStamps } from './stamps.ts';
import { createTokenServer, type TokenServer } from './token-server.ts';
import { type ConfiguredPeople, createUserDirectory, type UserDirectory } from './user-directory.ts';

/** All of identity and rights of one process. */
export interface Access {
  readonly guard: Guard;
  readonly tokenServer: TokenServer;
  /** `users.replace` takes what a reload of the configuration brought. */
  readonly users: UserDirectory;
  /** Of this process: what it cost so far. */
  readonly costs: {
    readonly slowHashes: () => number;
    readonly signaturesChecked: AccessTokens['signaturesChecked'];
  };
  close(): Promise<void>;
}

export interface AccessOptions {
  readonly meta: MetaStore;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, 'login'>;
  readonly auth: Pick<AuthConfig, 'anonymousPull' | 'service' | 'accessTokenSeconds' | 'refreshTokenSeconds'>;
  readonly people: ConfiguredPeople;
  /** Slow hashes at once in this process. */
  readonly passwordChecksMax: number;
}

export async function openAccess(options: AccessOptions): Promise<Access> {
  const { meta, clock, metrics, people } = options;
  const { anonymousPull, service, accessTokenSeconds, refreshTokenSeconds } = options.auth;
  const stamps = await loadStamps(meta);
  const users = createUserDirectory({ meta, stamps, people });
  const bcrypt = new Bcrypt();
  const checks = new PasswordChecks(bcrypt, options.passwordChecksMax);
  const throttle = createLoginThrottle({ meta, clock, stamps });
  const logins = createPasswordLogins({ users, checks, throttle, metrics });
  const keys = createSigningKeys({ meta, clock });
  const tokens = createAccessTokens({ keys, clock, service, lifetimeSeconds: accessTokenSeconds });
  const refreshTokens = createRefreshTokens({
    meta,
    clock,
    users,
    service,
    lifetimeSeconds: refreshTokenSeconds,
  });
  return {
    guard: createGuard({ logins, tokens, users, anonymousPull }),
    tokenServer: createTokenServer({ logins, tokens, refreshTokens, keys, service, anonymousPull }),
    users,
    costs: { slowHashes: () => checks.done, signaturesChecked: tokens.signaturesChecked },
    close: () => bcrypt.close(),
  };
}
