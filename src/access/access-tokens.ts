import { randomUUID } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import { parseRepositoryName } from '../oci/name.ts';
import type { Scope } from '../oci/scope.ts';
import type { Clock } from '../std/clock.ts';
import { SIGNING_ALGORITHM, type SigningKeys } from './signing-keys.ts';

/** What a valid access token says. Rights are not in it: it only bounds them. */
export interface AccessToken {
  /** Empty for the anonymous caller. */
  readonly userName: string;
  readonly stamp: string;
  readonly scopes: readonly Scope[];
  readonly expiresAt: number;
}

interface IssuedToken {
  readonly token: string;
  readonly issuedAt: number;
  readonly expiresInSeconds: number;
}

export interface AccessTokens {
  issue(token: Pick<AccessToken, 'userName' | 'stamp' | 'scopes'>): Promise<IssuedToken>;
  /**
   * What the token says, null when it is not a valid one of ours. The signature is checked once per process; after that
   * the answer is there at once.
   */
  verify(token: string): AccessToken | null | Promise<AccessToken | null>;
  /** Signatures checked so far in this process. */
  readonly signaturesChecked: () => number;
}

/** Keeps our tokens apart from other JWTs that a key of ours may come to sign (RFC 8725 3.11). */
const TOKEN_TYPE = 'drift-access+jwt';
/** A node whose clock is behind must not refuse what another just signed. */
const NOT_BEFORE_SECONDS = 60;
/** Verified tokens that a process remembers, by count and by characters. */
const CACHE_ENTRIES_MAX = 20_000;
const CACHE_CHARACTERS_MAX = 16 * 1024 * 1024;

export interface AccessTokenDependencies {
  readonly keys: SigningKeys;
  readonly clock: Clock;
  /** Issuer and audience. */
  readonly service: string;
  readonly lifetimeSeconds: number;
}

export function createAccessTokens(deps: AccessTokenDependencies): AccessTokens {
  const cache = new LRUCache<string, AccessToken>({
    max: CACHE_ENTRIES_MAX,
    maxSize: CACHE_CHARACTERS_MAX,
    sizeCalculation: (_, token) => token.length,
  });
  let checked = 0;

  function verify(token: string): AccessToken | null | Promise<AccessToken | null> {
    const known = cache.get(token);
    if (known === undefined) return check(token);
    if (known.expiresAt > deps.clock.now()) return known;
    cache.delete(token);
    return null;
  }

  async function check(token: string): Promise<AccessToken | null> {
    checked += 1;
    const payload = await verifySignature(deps, token);
    const read = payload === null ? null : readClaims(payload);
    if (read !== null) cache.set(token, read);
    return read;
  }

  return { issue: (token) => issue(deps, token), verify, signaturesChecked: () => checked };
}

async function issue(
  deps: AccessTokenDependencies,
  token: Pick<AccessToken, 'userName' | 'stamp' | 'scopes'>,
): Promise<IssuedToken> {
  const { keyId, privateKey } = await deps.keys.current();
  const issuedAt = Math.floor(deps.clock.now() / 1000);
  const access = token.scopes.map(({ type, name, actions }) => ({ type, name, actions: [...actions] }));
  const signed = await new SignJWT({ access, stamp: token.stamp })
    .setProtectedHeader({ alg: SIGNING_ALGORITHM, typ: TOKEN_TYPE, kid: keyId })
    .setIssuer(deps.service)
    .setSubject(token.userName)
    .setAudience(deps.service)
    .setIssuedAt(issuedAt)
    .setNotBefore(issuedAt - NOT_BEFORE_SECONDS)
    .setExpirationTime(issuedAt + deps.lifetimeSeconds)
    .setJti(randomUUID())
    .sign(privateKey);
  return { token: signed, issuedAt: issuedAt * 1000, expiresInSeconds: deps.lifetimeSeconds };
}

/**
 * The key comes from our own set by its id and from nowhere else: `jwk`, `jku` and `x5c` of the header are never read
 * (CVE-2025-24976). One algorithm, so neither `none` nor a public key taken for an HMAC secret can pass.
 */
async function verifySignature(deps: AccessTokenDependencies, token: string): Promise<JWTPayload | null> {
  try {
    const { payload } = await jwtVerify(
      token,
      async ({ kid }) => {
        const key = typeof kid === 'string' ? await deps.keys.find(kid) : null;
        if (key === null) throw new errors.JWKSNoMatchingKey();
        return key;
      },
      {
        algorithms: [SIGNING_ALGORITHM],
        typ: TOKEN_TYPE,
        issuer: deps.service,
        audience: deps.service,
        requiredClaims: ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'access', 'stamp'],
        currentDate: new Date(deps.clock.now()),
      },
    );
    return payload;
  } catch (error) {
    // Everything else is not the sender's doing: the ledger that keeps the keys is away.
    if (error instanceof errors.JOSEError) return null;
    throw error;
  }
}

function readClaims({ sub, exp, stamp, access }: JWTPayload): AccessToken | null {
  if (typeof sub !== 'string' || typeof exp !== 'number' || typeof stamp !== 'string') return null;
  if (!Array.isArray(access)) return null;
  const scopes = access.map(readScope);
  if (!scopes.every((scope) => scope !== null)) return null;
  return { userName: sub, stamp, scopes, expiresAt: exp * 1000 };
}

function readScope(entry: unknown): Scope | null {
  if (typeof entry !== 'object' || entry === null) return null;
  const { type, name, actions } = entry as Record<string, unknown>;
  if (typeof name !== 'string' || !Array.isArray(actions)) return null;
  if (!actions.every((action) => typeof action === 'string')) return null;
  if (type === 'registry') return { type, name, actions: new Set(actions) };
  if (type === 'repository' && parseRepositoryName(name) !== null)
    return { type, name, actions: new Set(actions) };
  return null;
}
