import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { RegistryError } from '../oci/error-codes.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import { type NamedPassword, unusableBecause } from './basic.ts';
import type { LoginAttempt, LoginThrottle } from './login-throttle.ts';
import type { PasswordChecks } from './password-checks.ts';
import type { User, UserDirectory } from './user-directory.ts';

interface LoginRequest extends NamedPassword {
  readonly address: string;
}

export interface PasswordLogins {
  /**
   * The user whose name and password these are, or null. A pair that was right before costs no slow hash and is never
   * slowed down. Throws TOOMANYREQUESTS after too many failures, or when too many logins wait.
   */
  login(request: LoginRequest): Promise<User | null>;
}

/** Verified pairs that a process remembers, and for how long after their last use. */
const VERIFIED_ENTRIES_MAX = 10_000;
const VERIFIED_KEPT_MS = 10 * 60_000;

export interface PasswordLoginDependencies {
  readonly users: UserDirectory;
  readonly checks: PasswordChecks;
  readonly throttle: LoginThrottle;
  readonly metrics: Pick<Metrics, 'login'>;
}

export function createPasswordLogins(deps: PasswordLoginDependencies): PasswordLogins {
  // Keys are made with a secret that dies with the process: a core dump's cache can be tried out only with it at hand,
  // and the value is the stamp, so that a new password makes the old entry worthless at once.
  const secret = randomBytes(32);
  const verified = new LRUCache<string, string>({
    max: VERIFIED_ENTRIES_MAX,
    ttl: VERIFIED_KEPT_MS,
    updateAgeOnGet: true,
  });

  /** Clients send many requests at once: those that say the same from the same place share one check. */
  const running = new Map<string, Promise<User | null>>();

  async function login(request: LoginRequest): Promise<User | null> {
    if (unusableBecause(request) !== null) return null;
    const user = await deps.users.find(request.name);
    const key = createHmac('sha256', secret).update(`${request.name}\0${request.password}`).digest('base64');
    if (user !== null && verified.get(key) === user.stamp) return user;
    const share = JSON.stringify([key, user?.stamp, request.address]);
    const other = running.get(share);
    if (other !== undefined) return other;
    const own = loginSlowly(user, key, { ...request, guess: share }).finally(() => running.delete(share));
    running.set(share, own);
    return own;
  }

  async function loginSlowly(
    user: User | null,
    key: string,
    request: LoginRequest & LoginAttempt,
  ): Promise<User | null> {
    await refuseWhileSlowed(deps, request);
    const matches = await deps.checks.inTurn(async () => {
      // Others may have found the pair right, or failed too often, while this one waited.
      if (user !== null && verified.get(key) === user.stamp) return true;
      await refuseWhileSlowed(deps, request);
      const right = await check(deps, user, request);
      if (right && user !== null) verified.set(key, user.stamp);
      if (!right) await deps.throttle.failed(request);
      return right;
    });
    deps.metrics.login(matches ? 'ok' : 'wrong');
    if (!matches || user === null) return null;
    await deps.throttle.succeeded(request);
    return user;
  }

  return { login };
}

async function check(
  deps: PasswordLoginDependencies,
  user: User | null,
  request: LoginRequest,
): Promise<boolean> {
  const matches = await deps.checks.matches(
    request.password,
    user?.secret ?? (await deps.users.decoy(request.name)),
  );
  return matches && user !== null;
}

async function refuseWhileSlowed(deps: PasswordLoginDependencies, request: LoginAttempt): Promise<void> {
  const retryAfterSeconds = await deps.throttle.wait(request);
  if (retryAfterSeconds === null) return;
  deps.metrics.login('slowed');
  throw new RegistryError('TOOMANYREQUESTS', `too many failed logins; try again in ${retryAfterSeconds} s`, {
    retryAfterSeconds,
  });
}
