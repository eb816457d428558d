import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import { parseScopes, type Scope } from '../oci/scope.ts';
import { compileGlob, globIsValid } from '../std/glob.ts';
import type { Action, Grant, Principal } from './principal.ts';

export const ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];

const CATALOG = 'catalog';

/**
 * Reads one scope of the configuration: `repository:<glob>:pull,push,delete` or `registry:catalog:*`. Unlike a scope in a
 * token request, one that we do not know is an error: somebody meant something by it.
 */
export function parseGrant(text: string): Grant {
  const [scope, ...others] = parseScopes([text]);
  if (scope === undefined || others.length > 0) throw badGrant(text);
  if (scope.type === 'registry') {
    if (scope.name !== CATALOG || !(scope.actions.has('*') || scope.actions.has(CATALOG)))
      throw badGrant(text);
    return { kind: 'registry', pattern: CATALOG, actions: new Set([CATALOG]) };
  }
  const problem = globIsValid(scope.name);
  if (problem !== null)
    throw new RegistryError('REQUEST_INVALID', `scope "${text.slice(0, 200)}": ${problem}`);
  const asked = scope.actions.has('*') ? ACTIONS : [...scope.actions];
  const actions = asked.filter(isAction);
  if (actions.length === 0 || actions.length !== asked.length) throw badGrant(text);
  return { kind: 'repository', pattern: scope.name, actions: new Set(actions) };
}

function badGrant(text: string): RegistryError {
  return new RegistryError(
    'REQUEST_INVALID',
    `scope "${text.slice(0, 200)}" is neither repository:<glob>:pull,push,delete nor registry:catalog:*`,
  );
}

function isAction(text: string): text is Action {
  return (ACTIONS as readonly string[]).includes(text);
}

/** What `auth.anonymous_pull` gives to everybody. */
export function pullGrants(globs: readonly string[]): Grant[] {
  return globs.map((pattern) => ({ kind: 'repository', pattern, actions: new Set<Action>(['pull']) }));
}

/** Every registry right, without being an administrator. */
export const EVERY_REPOSITORY: readonly Grant[] = [
  { kind: 'repository', pattern: '**', actions: new Set(ACTIONS) },
  { kind: 'registry', pattern: CATALOG, actions: new Set([CATALOG]) },
];

/** The principal's own right, whatever a token says. */
export function principalMay(principal: Principal, action: Action, repository: RepositoryName): boolean {
  if (principal.administrator) return true;
  return principal.grants.some(
    (grant) => grant.kind === 'repository' && grant.actions.has(action) && matches(grant, repository),
  );
}

const matchers = new WeakMap<Grant, (text: string) => boolean>();

function matches(grant: Grant, repository: RepositoryName): boolean {
  let matcher = matchers.get(grant);
  if (matcher === undefined) {
    matcher = compileGlob(grant.pattern);
    matchers.set(grant, matcher);
  }
  return matcher(repository);
}

/** Whether a token with these scopes reaches so far; null: no token cuts the rights down. */
export function scopesAllow(
  scopes: readonly Scope[] | null,
  action: Action,
  repository: RepositoryName,
): boolean {
  if (scopes === null) return true;
  return scopes.some(
    (scope) => scope.type === 'repository' && scope.name === repository && scope.actions.has(action),
  );
}

export function scopesAllowCatalog(scopes: readonly Scope[] | null): boolean {
  if (scopes === null) return true;
  return scopes.some(
    (scope) => scope.type === 'registry' && scope.name === CATALOG && scope.actions.has('*'),
  );
}
