import type { ConfiguredUser } from '../config/config.ts';
import type { LedgerUser, MetaStore } from '../meta/meta-store.ts';
import { isBcrypt } from '../std/bcrypt-hash.ts';
import { EVERY_REPOSITORY, parseGrant } from './grants.ts';
import { type Argon2Hash, DECOY_HASH, deriveArgon2, looksHashed, parseArgon2 } from './password-hash.ts';
import type { Grant, Person } from './principal.ts';
import type { Stamps } from './stamps.ts';

export type Secret =
  | { readonly kind: 'argon2'; readonly hash: Argon2Hash }
  | { readonly kind: 'bcrypt'; readonly hash: string };

export interface User {
  readonly principal: Person;
  readonly secret: Secret;
  /** Another one for each secret that the user ever had; tells nothing about the secret. Tokens carry it. */
  readonly stamp: string;
}

/** What the configuration knows about people; each replaces all that stood there before. */
export interface ConfiguredPeople {
  readonly users: readonly ConfiguredUser[];
  /** User name to plain password, argon2 PHC string or bcrypt hash. */
  readonly passwords: ReadonlyMap<string, string>;
  /** Members may do everything with every repository, unless `users` names them with scopes. */
  readonly htpasswd: readonly { readonly name: string; readonly hash: string }[];
}

export interface UserDirectory {
  /** Configured people first, then the ledger's. Asked on each request: what it says holds now. */
  find(name: string): User | Promise<User | null>;
  /** What to compare a password with when `name` is nobody: costs what a known user costs. */
  decoy(name: string): Promise<Secret>;
  /** Whether the configuration (not the ledger) knows anybody. */
  configured(): boolean;
  /** Takes new people from the configuration; throws with a sentence, and then changes nothing. */
  replace(people: ConfiguredPeople): void;
}

interface Entry {
  readonly name: string;
  readonly source: 'config' | 'htpasswd';
  readonly administrator: boolean;
  readonly grants: readonly Grant[];
  readonly secret: string;
  /** Made at first use: a plain password costs a slow hash once per process. */
  user: User | Promise<User> | null;
}

export function createUserDirectory(deps: {
  readonly meta: MetaStore;
  readonly stamps: Stamps;
  readonly people: ConfiguredPeople;
}): UserDirectory {
  const { stamps } = deps;
  // By the row that they were made of, which stays the same object while nothing is committed: a stamp is a keyed hash.
  const ledger = { meta: deps.meta, stamps, known: new WeakMap<LedgerUser, User>() };
  let entries = readPeople(deps.people);

  function find(name: string): User | Promise<User | null> {
    const entry = entries.get(name);
    return entry === undefined ? findInLedger(ledger, name) : userOf(entry, stamps);
  }

  async function decoy(name: string): Promise<Secret> {
    // The same name gets the same kind of hash each time, as it would if it were known.
    const index = entries.size === 0 ? 0 : stamps.hash('decoy', name).readUInt32BE(0) % entries.size;
    const stand = [...entries.values()][index];
    if (stand === undefined) return { kind: 'argon2', hash: DECOY_HASH };
    return (await userOf(stand, stamps)).secret;
  }

  return {
    find,
    decoy,
    configured: () => entries.size > 0,
    replace(people) {
      entries = readPeople(people);
    },
  };
}

function readPeople(people: ConfiguredPeople): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const { name, hash } of people.htpasswd) {
    const rights = { administrator: false, grants: EVERY_REPOSITORY };
    entries.set(name, { name, source: 'htpasswd', ...rights, secret: hash, user: null });
  }
  for (const { name, scopes } of people.users) {
    const listed = entries.get(name);
    const secret = people.passwords.get(name) ?? listed?.secret;
    if (secret === undefined || secret === '') throw new Error(`user ${name} has no password`);
    if (looksHashed(secret) && readHash(secret) === null) {
      throw new Error(
        `the password of user ${name} is a hash of a kind that is not understood: use argon2 or bcrypt`,
      );
    }
    const rights = { administrator: scopes === null, grants: (scopes ?? []).map(parseGrant) };
    entries.set(name, { name, source: 'config', ...rights, secret, user: null });
  }
  return entries;
}

function userOf(entry: Entry, stamps: Stamps): User | Promise<User> {
  entry.user ??= keepUser(entry, stamps);
  return entry.user;
}

async function keepUser(entry: Entry, stamps: Stamps): Promise<User> {
  try {
    const user = await makeUser(entry, stamps);
    entry.user = user;
    return user;
  } catch (error) {
    entry.user = null;
    throw error;
  }
}

async function makeUser(entry: Entry, stamps: Stamps): Promise<User> {
  const { name, administrator, grants } = entry;
  const principal: Person = { kind: 'person', name, administrator, grants };
  const hashed = readHash(entry.secret);
  if (hashed !== null)
    return { principal, secret: hashed, stamp: stamps.stamp('user', entry.source, name, entry.secret) };
  const hash = await deriveArgon2(entry.secret, stamps.hash('salt', name).subarray(0, 16));
  const stamp = stamps.stamp('user', 'plain', name, hash.tag.toString('base64'));
  return { principal, secret: { kind: 'argon2', hash }, stamp };
}

function readHash(secret: string): Secret | null {
  if (isBcrypt(secret)) return { kind: 'bcrypt', hash: secret };
  const hash = parseArgon2(secret);
  return hash === null ? null : { kind: 'argon2', hash };
}

async function findInLedger(
  deps: { readonly meta: MetaStore; readonly stamps: Stamps; readonly known: WeakMap<LedgerUser, User> },
  name: string,
): Promise<User | null> {
  const row = await deps.meta.read.access.user(name);
  if (row === null) return null;
  const known = deps.known.get(row);
  if (known !== undefined) return known;
  const hash = parseArgon2(row.passwordHash);
  if (hash === null) return null;
  const user: User = {
    principal: { kind: 'person', name, administrator: row.administrator, grants: [] },
    secret: { kind: 'argon2', hash },
    stamp: deps.stamps.stamp('user', 'ledger', name, row.passwordHash),
  };
  deps.known.set(row, user);
  return user;
}
