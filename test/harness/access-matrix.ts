import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  ADMIN,
  type ClientWorld,
  type Endpoint,
  PULL_ONLY,
  PUSH_ONLY,
  type User,
  WRONG,
} from './client-world.ts';
import type { CommandResult } from './docker-engine.ts';

/** What each client can do, as the matrix needs it. `user` null: no credentials at all. */
export interface MatrixClient {
  /** Pushes content made by the client to `<endpoint>/<name>:<tag>`. */
  push(endpoint: Endpoint, user: User | null, name: string, tag: string): Promise<CommandResult>;
  /** Pulls it to a fresh place, never from a cache of its own. */
  pull(endpoint: Endpoint, user: User | null, name: string, tag: string): Promise<CommandResult>;
  /** The client has no push that does without reading back: it needs the right to pull as well. */
  readonly readsWhilePushing?: true;
}

const NAME = 'ghost/demo';

/** Who may do what with this client, over plain HTTP and over TLS with an own certificate. */
export function itHonoursRights(client: MatrixClient, world: () => ClientWorld): void {
  for (const transport of ['plain', 'tls'] as const) {
    it(`push and pull over ${transport}, by every kind of user, do what the rights say`, async () => {
      const endpoint = world()[transport];
      const say = (result: CommandResult) => `${result.stdout}\n${result.stderr}`;
      const succeeds = (result: CommandResult, what: string) =>
        assert.equal(result.code, 0, `${what}: ${say(result)}`);
      const fails = (result: CommandResult, what: string) =>
        assert.notEqual(result.code, 0, `${what} went through`);

      succeeds(await client.push(endpoint, ADMIN, NAME, 'first'), 'push by the administrator');
      succeeds(await client.pull(endpoint, ADMIN, NAME, 'first'), 'pull by the administrator');
      const pushed = await client.push(endpoint, PUSH_ONLY, NAME, 'second');
      if (client.readsWhilePushing === true) {
        assert.match(say(pushed), /has no right to pull/i, 'push by the push-only user');
        succeeds(await client.push(endpoint, ADMIN, NAME, 'second'), 'a second push by the administrator');
      } else {
        succeeds(pushed, 'push by the push-only user');
      }
      fails(await client.pull(endpoint, PUSH_ONLY, NAME, 'first'), 'pull by the push-only user');
      fails(await client.push(endpoint, PUSH_ONLY, 'ghost/other', 'first'), 'push-only user elsewhere');
      succeeds(await client.pull(endpoint, PULL_ONLY, NAME, 'second'), 'pull by the pull-only user');
      fails(await client.push(endpoint, PULL_ONLY, NAME, 'third'), 'push by the pull-only user');
      for (const user of [WRONG, null]) {
        const who = user === null ? 'nobody' : 'a wrong password';
        fails(await client.push(endpoint, user, NAME, 'fourth'), `push with ${who}`);
        fails(await client.pull(endpoint, user, NAME, 'first'), `pull with ${who}`);
      }
    });
  }
}
