import type { JWK } from 'jose';
import { RegistryError } from '../oci/error-codes.ts';
import { parseRepositoryName } from '../oci/name.ts';
import { formatScopes, parseScopes, type Scope } from '../oci/scope.ts';
import type { AccessTokens } from './access-tokens.ts';
import { parseAuthorization } from './basic.ts';
import { ACTIONS, principalMay } from './grants.ts';
import { anonymousPrincipal } from './guard.ts';
import type { PasswordLogins } from './password-logins.ts';
import type { Anonymous, Principal } from './principal.ts';
import type { RefreshTokens } from './refresh-tokens.ts';
import type { SigningKeys } from './signing-keys.ts';
import type { User } from './user-directory.ts';

/** The token server of the registry token protocol (distribution, "Token Authentication" and "OAuth2"). */
export interface TokenServer {
  /** GET: Basic credentials or none, everything else in the query. */
  issueByQuery(request: TokenRequest & { readonly authorization: readonly string[] }): Promise<TokenAnswer>;
  /** POST: `grant_type` password or refresh_token, everything in the form. */
  issueByForm(request: TokenRequest): Promise<TokenAnswer>;
  publicKeys(): Promise<{ readonly keys: readonly JWK[] }>;
}

interface TokenRequest {
  readonly parameters: URLSearchParams;
  readonly address: string;
  /** Told who is asking as soon as that is known. */
  readonly onPrincipal?: (name: string) => void;
}

/** Both names of the token: containerd reads only the second, others only the first. */
export interface TokenAnswer {
  readonly token: string;
  readonly access_token: string;
  readonly expires_in: number;
  readonly issued_at: string;
  readonly scope: string;
  readonly refresh_token?: string;
}

export interface TokenServerDependencies {
  readonly logins: PasswordLogins;
  readonly tokens: AccessTokens;
  readonly refreshTokens: RefreshTokens;
  readonly keys: SigningKeys;
  readonly service: string;
  readonly anonymousPull: readonly string[];
}

/** Characters of all granted scopes: the token must fit into a header of every client and proxy (8 KiB). */
const GRANTED_CHARACTERS_MAX = 4_000;

export function createTokenServer(deps: TokenServerDependencies): TokenServer {
  const anonymous = anonymousPrincipal(deps.anonymousPull);

  async function issueByQuery(
    request: TokenRequest & { readonly authorization: readonly string[] },
  ): Promise<TokenAnswer> {
    const { parameters, address } = request;
    checkService(deps, parameters);
    const scopes = parseScopes(parameters.getAll('scope'));
    const credentials = parseAuthorization(request.authorization);
    if (credentials.kind === 'none') {
      request.onPrincipal?.(anonymous.name);
      return issueAnonymous(deps, anonymous, scopes);
    }
    if (credentials.kind !== 'basic') throw refused(deps, 'a token is issued for Basic credentials only');
    const user = await deps.logins.login({ ...credentials, address });
    if (user === null) throw refused(deps, 'wrong user name or password');
    request.onPrincipal?.(user.principal.name);
    const offline = single(parameters, 'offline_token') === 'true';
    return issueTo(deps, user, { scopes, refreshFor: offline ? clientOf(parameters) : null });
  }

  async function issueByForm({ parameters, address, onPrincipal }: TokenRequest): Promise<TokenAnswer> {
    checkService(deps, parameters);
    const scopes = parseScopes(parameters.getAll('scope'));
    const grantType = single(parameters, 'grant_type');
    if (grantType === 'refresh_token') {
      const user = await deps.refreshTokens.redeem(single(parameters, 'refresh_token') ?? '');
      if (user === null) throw refused(deps, 'the refresh token is not valid (any more); log in again');
      onPrincipal?.(user.principal.name);
      return issueTo(deps, user, { scopes, refreshFor: null });
    }
    if (grantType !== 'password') {
      throw new RegistryError('REQUEST_INVALID', 'grant_type must be password or refresh_token');
    }
    const name = single(parameters, 'username') ?? '';
    const user = await deps.logins.login({ name, password: single(parameters, 'password') ?? '', address });
    if (user === null) throw refused(deps, 'wrong user name or password');
    onPrincipal?.(user.principal.name);
    const offline = single(parameters, 'access_type') === 'offline';
    return issueTo(deps, user, { scopes, refreshFor: offline ? clientOf(parameters) : null });
  }

  return { issueByQuery, issueByForm, publicKeys: () => deps.keys.publicSet() };
}

async function issueAnonymous(
  deps: TokenServerDependencies,
  anonymous: Anonymous,
  scopes: readonly Scope[],
): Promise<TokenAnswer> {
  // With the bare default message docker takes the refusal for a passing fault, and tries for a minute.
  if (anonymous.grants.length === 0) throw refused(deps, 'nothing is open to everybody here; log in first');
  const granted = intersect(anonymous, scopes);
  return answer(await deps.tokens.issue({ userName: '', stamp: '', scopes: granted }), granted);
}

async function issueTo(
  deps: TokenServerDependencies,
  user: User,
  { scopes, refreshFor }: { readonly scopes: readonly Scope[]; readonly refreshFor: string | null },
): Promise<TokenAnswer> {
  const { name } = user.principal;
  const granted = intersect(user.principal, scopes);
  const issued = await deps.tokens.issue({ userName: name, stamp: user.stamp, scopes: granted });
  if (refreshFor === null) return answer(issued, granted);
  return { ...answer(issued, granted), refresh_token: await deps.refreshTokens.issue(user, refreshFor) };
}

function answer(
  issued: { readonly token: string; readonly issuedAt: number; readonly expiresInSeconds: number },
  granted: readonly Scope[],
): TokenAnswer {
  return {
    token: issued.token,
    access_token: issued.token,
    expires_in: issued.expiresInSeconds,
    issued_at: new Date(issued.issuedAt).toISOString(),
    scope: formatScopes(granted),
  };
}

/** What was asked and what the principal may, both: less than asked is not an error. `*` is all that it may. */
function intersect(principal: Principal, asked: readonly Scope[]): readonly Scope[] {
  const granted = new Map<string, Scope>();
  for (const scope of asked) {
    const key = `${scope.type}:${scope.name}`;
    const before = granted.get(key)?.actions ?? new Set<string>();
    const actions = scope.type === 'registry' ? catalogActions(principal, scope) : allowed(principal, scope);
    // In a fixed order, whatever the order of asking was.
    const both = ['*', ...ACTIONS].filter((action) => actions.includes(action) || before.has(action));
    if (both.length > 0) granted.set(key, { type: scope.type, name: scope.name, actions: new Set(both) });
  }
  const scopes = [...granted.values()];
  if (formatScopes(scopes).length > GRANTED_CHARACTERS_MAX) {
    throw new RegistryError(
      'REQUEST_INVALID',
      'the scopes asked for do not fit into one token; ask for fewer',
    );
  }
  return scopes;
}

function allowed(principal: Principal, scope: Scope): string[] {
  const repository = parseRepositoryName(scope.name);
  if (repository === null) return [];
  const asksAll = scope.actions.has('*');
  return ACTIONS.filter(
    (action) => (asksAll || scope.actions.has(action)) && principalMay(principal, action, repository),
  );
}

/** Everybody with a name may list; the list holds what they may pull. */
function catalogActions(principal: Principal, scope: Scope): string[] {
  const listed = scope.name === 'catalog' && scope.actions.has('*') && principal.kind !== 'anonymous';
  return listed ? ['*'] : [];
}

function checkService(deps: TokenServerDependencies, parameters: URLSearchParams): void {
  const service = single(parameters, 'service');
  if (service === null || service === '' || service === deps.service) return;
  throw new RegistryError(
    'REQUEST_INVALID',
    `this token server speaks for the service "${deps.service}" only`,
  );
}

const CLIENT_ID_LENGTH_MAX = 128;

function clientOf(parameters: URLSearchParams): string {
  return (single(parameters, 'client_id') ?? '').slice(0, CLIENT_ID_LENGTH_MAX);
}

/** RFC 6749 3.2: a parameter must not stand there twice (`scope` may, here). */
function single(parameters: URLSearchParams, name: string): string | null {
  const [value, ...others] = parameters.getAll(name);
  if (others.length > 0)
    throw new RegistryError('REQUEST_INVALID', `the parameter ${name} stands there twice`);
  return value ?? null;
}

function refused(deps: TokenServerDependencies, why: string): RegistryError {
  return new RegistryError('UNAUTHORIZED', why, {
    headers: { 'WWW-Authenticate': `Basic realm="${deps.service}", charset="UTF-8"` },
  });
}
