import { BCRYPT_COST_MAX, bcryptCost, isBcrypt } from '../std/bcrypt-hash.ts';
import { ValueError } from './value-error.ts';
import { fail, readRepositoryGlob, strings, type ValueType } from './value-types.ts';

/** Name to configured secret. */
export type Passwords = ReadonlyMap<string, string>;
export type UserScopes = ReadonlyMap<string, readonly string[]>;

/** A PHC string whose work is bounded: a hash that takes gigabytes would stop the service at each login. */
const ARGON2 =
  /^\$argon2(?:id|i|d)\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$[A-Za-z0-9+/]{8,}\$[A-Za-z0-9+/]{16,}$/;
const ARGON2_MEMORY_KIB_MAX = 1_048_576;
const ARGON2_PASSES_MAX = 64;
/** As many as the login accepts. */
const PASSWORD_LENGTH_MAX = 1024;
/** Meant as bcrypt, complete or not. */
const BCRYPT_START = /^\$2[a-z]?\$/;
const OTHER_HASH = /^(\$(1|5|6|y|7|apr1|scrypt|pbkdf2[^$]*)\$|\{[A-Z0-9]+\})/;

export function isArgon2(secret: string): boolean {
  return secret.startsWith('$argon2');
}

export function users(): ValueType<Passwords> {
  return {
    describe: 'list of `name:password`; the password plain, argon2 (PHC) or bcrypt',
    isPath: false,
    fromText: (value) => readUsers(value.split('\n').flatMap(splitUserLine)),
    fromToml: (raw) => readUsers(userEntries(raw)),
    show: (value) =>
      [...value].map(([name, secret]) => `${name}:*** (${secretKind(secret)})`).join(', ') || '(none)',
  };
}

/** Scopes by user: a TOML table, or `ci=repository:a:push;dev=repository:b:pull registry:catalog:*`. */
export function userScopes(): ValueType<UserScopes> {
  return {
    describe: 'table of user name to list of scopes',
    isPath: false,
    fromText: scopesFromText,
    fromToml: scopesFromToml,
    show: (value) => [...value].map(([name, scopes]) => `${name}=${scopes.join(' ')}`).join('; ') || '(none)',
  };
}

/** Lines. */
const HTPASSWD_ENTRIES_MAX = 10_000;

/**
 * Reads a file made by `htpasswd -B`: bcrypt hashes by user, and what is wrong with the other lines. Only bcrypt is
 * accepted, as in other registries: MD5, SHA-1 and crypt are no protection. No message holds more of a line than its user.
 */
export function parseHtpasswd(content: string): {
  readonly hashes: ReadonlyMap<string, string>;
  readonly problems: readonly { readonly line: number; readonly message: string }[];
} {
  const hashes = new Map<string, string>();
  const problems: { line: number; message: string }[] = [];
  content.split('\n').forEach((text, index) => {
    const line = text.trim();
    if (line === '' || line.startsWith('#')) return;
    try {
      const [name, secret] = readUser(line);
      if (!isBcrypt(secret)) {
        throw new ValueError(`the entry of "${name}" is not a bcrypt hash (make one with htpasswd -B)`);
      }
      if (hashes.has(name)) throw new ValueError(`user "${name}" is listed twice`);
      if (hashes.size === HTPASSWD_ENTRIES_MAX)
        throw new ValueError(`more than ${HTPASSWD_ENTRIES_MAX} users`);
      hashes.set(name, secret);
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
      problems.push({ line: index + 1, message: error.message });
    }
  });
  return { hashes, problems };
}

function secretKind(secret: string): 'plain' | 'argon2' | 'bcrypt' {
  if (isArgon2(secret)) return 'argon2';
  return isBcrypt(secret) ? 'bcrypt' : 'plain';
}

/** Splits at commas, but an argon2 hash holds commas itself: a piece without `:` goes on with the hash before it. */
function splitUserLine(line: string): string[] {
  const entries: string[] = [];
  for (const piece of line.split(',')) {
    const before = entries.at(-1);
    if (before !== undefined && !piece.includes(':') && before.includes(':$argon2')) {
      entries[entries.length - 1] = `${before},${piece}`;
    } else if (piece.trim() !== '') {
      entries.push(piece);
    }
  }
  return entries;
}

/** Unlike other lists, its error shows nothing of the value: it may be a password. */
function userEntries(raw: unknown): string[] {
  if (typeof raw === 'string') return splitUserLine(raw);
  if (Array.isArray(raw) && raw.every((item) => typeof item === 'string')) return raw;
  throw new ValueError('must be a list of strings "name:password"');
}

function readUsers(entries: readonly string[]): Passwords {
  const found = new Map<string, string>();
  for (const entry of entries) {
    const [name, secret] = readUser(entry.trim());
    if (found.has(name)) throw new ValueError(`user "${name}" is listed twice`);
    found.set(name, secret);
  }
  return found;
}

/** Errors name the user at most: an entry may be a password that lost its name. */
function readUser(entry: string): [string, string] {
  const colon = entry.indexOf(':');
  if (colon < 0) {
    throw new ValueError(
      'an entry has no ":"; each is name:password',
      'a plain password that holds a comma fits only in drift.toml',
    );
  }
  const name = entry.slice(0, colon).trim();
  const secret = entry.slice(colon + 1);
  if (!/^[^\s,;=:"\p{Cc}]{1,255}$/u.test(name)) {
    throw new ValueError(
      'a user name is empty, longer than 255, or holds a space, comma, colon, semicolon, quote or "="',
    );
  }
  if (secret === '') throw new ValueError(`user "${name}" has an empty password`);
  if (secret.length > PASSWORD_LENGTH_MAX) {
    throw new ValueError(`the password of user "${name}" is longer than ${PASSWORD_LENGTH_MAX} characters`);
  }
  checkSecret(name, secret);
  return [name, secret];
}

function checkSecret(name: string, secret: string): void {
  if (isArgon2(secret)) {
    const match = ARGON2.exec(secret);
    if (!match)
      throw new ValueError(`the argon2 hash of user "${name}" is not a complete PHC string with v=19`);
    if (Number(match[1]) > ARGON2_MEMORY_KIB_MAX || Number(match[2]) > ARGON2_PASSES_MAX)
      throw new ValueError(`the argon2 hash of user "${name}" asks for more than 1 GiB or 64 passes`);
  } else if (BCRYPT_START.test(secret)) {
    const cost = bcryptCost(secret);
    if (cost === null) throw new ValueError(`the bcrypt hash of user "${name}" is not complete`);
    if (cost > BCRYPT_COST_MAX)
      throw new ValueError(`the bcrypt hash of user "${name}" has a cost above ${BCRYPT_COST_MAX}`);
  } else if (OTHER_HASH.test(secret)) {
    throw new ValueError(`the hash of user "${name}" is neither bcrypt nor argon2`);
  }
}

function scopesFromText(value: string): UserScopes {
  const found = new Map<string, readonly string[]>();
  for (const part of value.split(/[;\n]/).filter((text) => text.trim() !== '')) {
    const equals = part.indexOf('=');
    const name = part.slice(0, equals).trim();
    if (equals < 0 || name === '') return fail('must be user=scope scope;user=scope', part);
    if (found.has(name)) throw new ValueError(`user "${name}" has scopes twice`);
    found.set(name, readScopes(part.slice(equals + 1).split(/\s+/)));
  }
  return found;
}

function scopesFromToml(raw: unknown): UserScopes {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    return fail('must be a table of user name to list of scopes', raw);
  }
  return new Map(
    Object.entries(raw).map(([name, scopes]) => [
      name,
      readScopes(typeof scopes === 'string' ? scopes.split(/\s+/) : strings(scopes)),
    ]),
  );
}

function readScopes(items: readonly string[]): readonly string[] {
  return items.filter((item) => item !== '').map(readScope);
}

function readScope(item: string): string {
  if (item === 'registry:catalog:*') return item;
  const match = /^repository:([^:]+):([a-z,*]+)$/.exec(item);
  const actions = match?.[2] === '*' ? ['pull', 'push', 'delete'] : (match?.[2]?.split(',') ?? []);
  if (!match?.[1] || !actions.every((action) => ['pull', 'push', 'delete'].includes(action))) {
    return fail(
      'must hold scopes such as "repository:ghost/demo:pull,push,delete" or "registry:catalog:*"',
      item,
    );
  }
  return `repository:${readRepositoryGlob(match[1])}:${[...new Set(actions)].join(',')}`;
}
