import type { Action } from '../../src/access/principal.ts';
import { ADMIN, basic, type Person } from '../v2/v2-client.ts';
import { startV2, type V2Server } from '../v2/v2-server.ts';

const PULL: Person = { name: 'pull', password: 'pulls-and-no-more' };
const PUSH_ONLY: Person = { name: 'pushonly', password: 'pushes-and-no-more' };
const PUSH: Person = { name: 'push', password: 'pulls-and-pushes' };
const DELETE: Person = { name: 'delete', password: 'deletes-and-no-more' };
const STRANGER: Person = { name: 'stranger', password: 'lives-in-other-repos' };

/** The repositories of the matrix are below this; the rights of the people are too. */
export const ORGANISATION = 'ghost';

const USERS = [ADMIN, PULL, PUSH_ONLY, PUSH, DELETE, STRANGER];
const SCOPES = {
  pull: `repository:${ORGANISATION}/**:pull`,
  pushonly: `repository:${ORGANISATION}/**:push`,
  push: `repository:${ORGANISATION}/**:pull,push`,
  delete: `repository:${ORGANISATION}/**:delete`,
  stranger: 'repository:other/**:pull,push,delete',
};
const ENV = {
  DRIFT_USERS: USERS.map(({ name, password }) => `${name}:${password}`).join(','),
  DRIFT_USER_SCOPES: Object.entries(SCOPES)
    .map(([name, scope]) => `${name}=${scope}`)
    .join(';'),
};

/** As whom the registry has to take a caller: nobody, somebody with these rights, or refuse the credentials. */
export type Standing =
  | { readonly kind: 'nobody' }
  | { readonly kind: 'refused'; readonly error: 'invalid_token' | null }
  | { readonly kind: 'somebody'; readonly may: readonly Action[] }
  /** May everything here, but holds a token that was asked for elsewhere. */
  | { readonly kind: 'narrow' };

export interface MatrixCaller {
  readonly label: string;
  /** Requests at once: more than one unless what went before counts. */
  readonly atOnce: number;
  readonly standing: Standing;
  /** `Authorization` of the next request, null for none. */
  readonly authorize: (world: V2Server) => Promise<string | null>;
}

/** Beyond what a lasting series of wrong passwords is slowed down to. */
const THROTTLE_SECONDS_MAX = 61;
/** Beyond the life of an access token. */
const TOKEN_SECONDS_MAX = 3600;

export function startMatrixWorld(): Promise<V2Server> {
  return startV2(ENV);
}

const AT_ONCE = 8;

const person = (who: Person) => async (): Promise<string> => basic(who);
const somebody = (...may: readonly Action[]): Standing => ({ kind: 'somebody', may });

/** The list, and a person whose rights are all elsewhere. */
export const CALLERS: readonly MatrixCaller[] = [
  { label: 'anonymous', atOnce: AT_ONCE, standing: { kind: 'nobody' }, authorize: async () => null },
  {
    label: 'wrong password',
    atOnce: 1,
    standing: { kind: 'refused', error: null },
    authorize: async (world) => {
      world.clock.advance(THROTTLE_SECONDS_MAX);
      return basic({ name: ADMIN.name, password: 'not-the-password' });
    },
  },
  { label: 'pull', atOnce: AT_ONCE, standing: somebody('pull'), authorize: person(PULL) },
  { label: 'push-only', atOnce: AT_ONCE, standing: somebody('push'), authorize: person(PUSH_ONLY) },
  { label: 'push', atOnce: AT_ONCE, standing: somebody('pull', 'push'), authorize: person(PUSH) },
  { label: 'delete', atOnce: AT_ONCE, standing: somebody('delete'), authorize: person(DELETE) },
  { label: 'admin', atOnce: AT_ONCE, standing: somebody('pull', 'push', 'delete'), authorize: person(ADMIN) },
  { label: 'stranger', atOnce: AT_ONCE, standing: somebody(), authorize: person(STRANGER) },
  {
    label: 'expired token',
    atOnce: AT_ONCE,
    standing: { kind: 'refused', error: 'invalid_token' },
    authorize: once(async (world) => {
      const token = await usableToken(world, fullScope());
      world.clock.advance(TOKEN_SECONDS_MAX);
      return token;
    }),
  },
  {
    label: 'foreign-scope token',
    atOnce: AT_ONCE,
    standing: { kind: 'narrow' },
    authorize: once((world) => usableToken(world, 'repository:other/app:pull,push,delete')),
  },
  {
    label: 'foreign-key token',
    atOnce: AT_ONCE,
    standing: { kind: 'refused', error: 'invalid_token' },
    // Another registry with the same service and people: nothing but the key tells its tokens apart.
    authorize: once(async () => {
      const foreign = await startMatrixWorld();
      try {
        return await usableToken(foreign, fullScope());
      } finally {
        await foreign.stop();
      }
    }),
  },
];

/** All that the administrator may on the repositories of the matrix, and the catalog. */
function fullScope(): string {
  const names = ['app', 'missing'].map((name) => `repository:${ORGANISATION}/${name}:pull,push,delete`);
  return [...names, 'registry:catalog:*'].join(' ');
}

/** An administrator's token, seen to work where it was issued: whatever refuses it later has another reason. */
async function usableToken(world: V2Server, scope: string): Promise<string> {
  const authorization = `Bearer ${await world.issueToken(ADMIN, scope)}`;
  const { status } = await world.client.send('GET', '/v2/', { as: null, headers: { authorization } });
  if (status !== 200) throw new Error(`the fresh token was answered with ${status}`);
  return authorization;
}

function once(make: (world: V2Server) => Promise<string>): (world: V2Server) => Promise<string> {
  let made: Promise<string> | null = null;
  return (world) => (made ??= make(world));
}
