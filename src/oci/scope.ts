import { RegistryError } from './error-codes.ts';

/** What an access token may do at most with one resource (distribution, "Token Scope Documentation"). */
export interface Scope {
  readonly type: 'repository' | 'registry';
  readonly name: string;
  /** As asked: `pull`, `push`, `delete`, `*` and whatever else a client writes; the rules know which of them mean something. */
  readonly actions: ReadonlySet<string>;
}

/** Scopes in one request, over all its `scope` values. A push with a mount asks for two. */
export const SCOPES_MAX = 100;
/** Characters of one scope. */
export const SCOPE_LENGTH_MAX = 1024;

/**
 * Reads every `scope` value of a token request; each may hold several entries, separated by spaces. An entry of a type
 * that we do not know, or without a name, is dropped: less than asked is not an error. A flood is.
 */
export function parseScopes(values: readonly string[]): Scope[] {
  const scopes: Scope[] = [];
  let count = 0;
  for (const value of values) {
    if (value.length > SCOPES_MAX * (SCOPE_LENGTH_MAX + 1)) {
      throw new RegistryError('REQUEST_INVALID', 'the scope parameter is too long');
    }
    for (const entry of value.split(' ')) {
      if (entry === '') continue;
      count += 1;
      if (count > SCOPES_MAX) {
        throw new RegistryError(
          'REQUEST_INVALID',
          `at most ${SCOPES_MAX} scopes are accepted in one request`,
        );
      }
      const scope = parseScope(entry);
      if (scope !== null) scopes.push(scope);
    }
  }
  return scopes;
}

/**
 * `type[(class)]:name:action[,action]`. The name may contain `host:port`, hence the first and the last colon. The class
 * (`repository(plugin)`) has no meaning here.
 */
function parseScope(entry: string): Scope | null {
  if (entry.length > SCOPE_LENGTH_MAX) {
    throw new RegistryError('REQUEST_INVALID', `a scope is longer than ${SCOPE_LENGTH_MAX} characters`);
  }
  const first = entry.indexOf(':');
  const last = entry.lastIndexOf(':');
  if (first < 0 || first === last) return null;
  const type = parseScopeType(entry.slice(0, first));
  const name = entry.slice(first + 1, last);
  if (type === null || name === '') return null;
  const actions = entry
    .slice(last + 1)
    .split(',')
    .filter((action) => action !== '');
  return { type, name, actions: new Set(actions) };
}

function parseScopeType(text: string): Scope['type'] | null {
  const bracket = text.indexOf('(');
  if (bracket >= 0 && !text.endsWith(')')) return null;
  const type = bracket < 0 ? text : text.slice(0, bracket);
  return type === 'repository' || type === 'registry' ? type : null;
}

export function formatScope(scope: Scope): string {
  return `${scope.type}:${scope.name}:${[...scope.actions].join(',')}`;
}

export function formatScopes(scopes: readonly Scope[]): string {
  return scopes.map(formatScope).join(' ');
}
