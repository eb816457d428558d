import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { AccessToken, AccessTokens } from './access-tokens.ts';
import { parseAuthorization } from './basic.ts';
import { principalMay, pullGrants, scopesAllow, scopesAllowCatalog } from './grants.ts';
import type { Need } from './need.ts';
import type { PasswordLogins } from './password-logins.ts';
import type { Action, Anonymous, Caller } from './principal.ts';
import type { User, UserDirectory } from './user-directory.ts';

/** The one place that decides who a request comes from and what it may do. What it does not know, it refuses. */
export interface Guard {
  /**
   * Who sends this? `authorization` is `headersDistinct.authorization ?? []`; `challengeScope` goes into a 401. No header,
   * or Basic with empty name and password: anonymous (via `none`). Wrong or expired credentials throw UNAUTHORIZED with a
   * challenge, a login that is slowed down TOOMANYREQUESTS.
   */
  identify(request: IdentifyRequest): Promise<Caller>;
  /**
   * Throws UNAUTHORIZED with a challenge (nobody, or a token too narrow: `insufficient_scope`, with the scope needed) or
   * DENIED (somebody without the right).
   */
  authorize(caller: Caller, need: Need, repository: RepositoryName | null): void;
  /** `token_too_narrow`: the principal may, but the token was not asked for so much. Lists count that as visible. */
  may(caller: Caller, action: Action, repository: RepositoryName): 'yes' | 'token_too_narrow' | 'no';
  /** Scope of the challenge for a need, in wire form; null where none is needed. */
  challengeScope(need: Need, repository: RepositoryName | null): string | null;
}

interface IdentifyRequest {
  readonly authorization: readonly string[];
  readonly address: string;
  readonly challengeScope: string | null;
}

const CATALOG_SCOPE = 'registry:catalog:*';

export interface GuardDependencies {
  readonly logins: PasswordLogins;
  readonly tokens: AccessTokens;
  readonly users: UserDirectory;
  /** Globs; none: every caller needs credentials. */
  readonly anonymousPull: readonly string[];
}

export function createGuard(deps: GuardDependencies): Guard {
  const anonymous = anonymousPrincipal(deps.anonymousPull);

  async function identify(request: IdentifyRequest): Promise<Caller> {
    const credentials = parseAuthorization(request.authorization);
    if (credentials.kind === 'none') return { principal: anonymous, via: 'none', tokenScopes: null };
    if (credentials.kind === 'unusable') throw unauthorized(credentials.why, request.challengeScope, null);
    if (credentials.kind === 'token') {
      // What is known is not waited for: this is asked on each request.
      const identified = identifyToken(deps, anonymous, credentials.token);
      const caller = identified instanceof Promise ? await identified : identified;
      if (caller !== null) return caller;
      throw unauthorized('the access token is not valid (any more)', request.challengeScope, 'invalid_token');
    }
    const user = await deps.logins.login({ ...credentials, address: request.address });
    if (user === null) throw unauthorized('wrong user name or password', request.challengeScope, null);
    return { principal: user.principal, via: 'basic', tokenScopes: null };
  }

  return { identify, authorize, may, challengeScope };
}

export function anonymousPrincipal(anonymousPull: readonly string[]): Anonymous {
  return { kind: 'anonymous', name: '', administrator: false, grants: pullGrants(anonymousPull) };
}

/** The token says who; the directory says whether that still holds: another password or a deleted user ends it at once. */
function identifyToken(
  deps: GuardDependencies,
  anonymous: Anonymous,
  text: string,
): Caller | null | Promise<Caller | null> {
  const token = deps.tokens.verify(text);
  if (token instanceof Promise) return token.then((verified) => holderOf(deps, anonymous, verified));
  return holderOf(deps, anonymous, token);
}

function holderOf(
  deps: GuardDependencies,
  anonymous: Anonymous,
  token: AccessToken | null,
): Caller | null | Promise<Caller | null> {
  if (token === null) return null;
  if (token.userName === '') {
    if (anonymous.grants.length === 0) return null;
    return { principal: anonymous, via: 'token', tokenScopes: token.scopes };
  }
  const user = deps.users.find(token.userName);
  if (user instanceof Promise) return user.then((found) => callerWith(token, found));
  return callerWith(token, user);
}

function callerWith(token: AccessToken, user: User | null): Caller | null {
  if (user === null || user.stamp !== token.stamp) return null;
  return { principal: user.principal, via: 'token', tokenScopes: token.scopes };
}

function may(caller: Caller, action: Action, repository: RepositoryName): 'yes' | 'token_too_narrow' | 'no' {
  if (!principalMay(caller.principal, action, repository)) return 'no';
  return scopesAllow(caller.tokenScopes, action, repository) ? 'yes' : 'token_too_narrow';
}

function authorize(caller: Caller, need: Need, repository: RepositoryName | null): void {
  switch (need.kind) {
    case 'open':
      return;
    case 'authenticated':
      if (caller.via === 'none') throw unauthorized(null, null, null);
      return;
    case 'catalog':
      authorizeCatalog(caller);
      return;
    case 'repository':
      authorizeRepository(caller, need, repository);
      return;
    default:
      need satisfies never;
      throw new RegistryError('DENIED', 'this endpoint declares no need that is known, so nobody may use it');
  }
}

function authorizeCatalog(caller: Caller): void {
  if (caller.via === 'none') throw unauthorized(null, CATALOG_SCOPE, null);
  if (scopesAllowCatalog(caller.tokenScopes)) return;
  throw unauthorized('the access token does not include the catalog', CATALOG_SCOPE, 'insufficient_scope');
}

function authorizeRepository(
  caller: Caller,
  need: Need & { readonly kind: 'repository' },
  repository: RepositoryName | null,
): void {
  if (repository === null) throw new RegistryError('DENIED', 'no repository was named');
  const answers = [need.action, need.orAction ?? need.action].map((action) =>
    may(caller, action, repository),
  );
  if (answers.includes('yes')) return;
  const scope = challengeScope(need, repository);
  if (answers.includes('token_too_narrow')) {
    const why = `the access token does not include ${need.action} on ${repository}`;
    throw unauthorized(why, scope, 'insufficient_scope');
  }
  if (caller.principal.kind === 'anonymous') {
    throw unauthorized(null, scope, caller.via === 'token' ? 'insufficient_scope' : null);
  }
  // The same words whether the repository exists or not.
  throw new RegistryError(
    'DENIED',
    `${caller.principal.name} has no right to ${need.action} on ${repository}`,
  );
}

function challengeScope(need: Need, repository: RepositoryName | null): string | null {
  if (need.kind === 'catalog') return CATALOG_SCOPE;
  if (need.kind !== 'repository' || repository === null) return null;
  // Pushing clients read, too: they ask which blobs are here, and the manifest that they just put. Who may only push has
  // to be told of the right that suffices, or the token that comes of this challenge would hold nothing.
  const asksPush = need.action === 'push' || need.orAction === 'push';
  return `repository:${repository}:${asksPush ? 'pull,push' : need.action}`;
}

function unauthorized(
  why: string | null,
  scope: string | null,
  error: 'invalid_token' | 'insufficient_scope' | null,
): RegistryError {
  return new RegistryError('UNAUTHORIZED', why, { challenge: { scope, error } });
}
