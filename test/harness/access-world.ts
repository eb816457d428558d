import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Access, openAccess } from '../../src/access/open-access.ts';
import type { Caller } from '../../src/access/principal.ts';
import type { ConfiguredPeople } from '../../src/access/user-directory.ts';
import type { MetaStore } from '../../src/meta/meta-store.ts';
import { openSqliteMetaStore } from '../../src/meta/sqlite/sqlite-meta-store.ts';

export const SERVICE = 'registry.test';
export const ADDRESS = '192.0.2.1';

/** A real ledger in a directory of its own, and as many processes' worth of access on it as a test wants. */
export interface AccessWorld extends AsyncDisposable {
  readonly meta: MetaStore;
  readonly clock: { now(): number; at: number };
  /** Outcomes told to the metrics. */
  readonly logins: string[];
  open(options?: OpenOptions): Promise<Access>;
}

export interface OpenOptions {
  readonly people?: ConfiguredPeople;
  readonly anonymousPull?: readonly string[];
  readonly service?: string;
  readonly passwordChecksMax?: number;
}

export const PEOPLE: ConfiguredPeople = people({
  root: ['rootpw', null],
  ci: ['tokenonly', ['repository:ghost/demo:push']],
  reader: ['readerpw', ['repository:ghost/*:pull']],
  dev: ['devpw', ['repository:ghost/**:pull,push,delete']],
});

export function people(users: Record<string, [string, readonly string[] | null]>): ConfiguredPeople {
  const entries = Object.entries(users);
  return {
    users: entries.map(([name, [, scopes]]) => ({ name, scopes })),
    passwords: new Map(entries.map(([name, [password]]) => [name, password])),
    htpasswd: [],
  };
}

export async function openAccessWorld(): Promise<AccessWorld> {
  const directory = await mkdtemp(join(tmpdir(), 'drift-access-'));
  const meta = await openSqliteMetaStore({ file: join(directory, 'ledger.db'), mode: 'migrate' });
  const opened: Access[] = [];
  const logins: string[] = [];
  const clock = {
    at: Date.now(),
    now(): number {
      return this.at;
    },
  };
  return {
    meta,
    clock,
    logins,
    async open({ people = PEOPLE, anonymousPull = [], service = SERVICE, passwordChecksMax = 4 } = {}) {
      const access = await openAccess({
        meta,
        clock,
        metrics: { login: (outcome) => logins.push(outcome) },
        auth: { anonymousPull, service, accessTokenSeconds: 300, refreshTokenSeconds: 86_400 },
        people,
        passwordChecksMax,
      });
      opened.push(access);
      return access;
    },
    async [Symbol.asyncDispose]() {
      for (const access of opened) await access.close();
      await meta.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}

/** Who `authorization` is to this process. */
export function identify(
  access: Access,
  authorization: string | null,
  address: string = ADDRESS,
): Promise<Caller> {
  const values = authorization === null ? [] : [authorization];
  return access.guard.identify({ authorization: values, address, challengeScope: null });
}

/** A token by GET, as docker asks for it. */
export async function tokenFor(access: Access, authorization: string | null, query: string): Promise<string> {
  const answer = await access.tokenServer.issueByQuery({
    parameters: new URLSearchParams(query),
    authorization: authorization === null ? [] : [authorization],
    address: ADDRESS,
  });
  return answer.token;
}
