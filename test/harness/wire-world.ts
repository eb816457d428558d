import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import {
  ADMIN,
  type Answer,
  basic,
  OWNER,
  type Person,
  PULLER,
  PUSHER,
  STRANGER,
  V2Client,
} from '../v2/v2-client.ts';
import { type RegistryOptions, type StartedRegistry, startRegistry } from './start-registry.ts';

/** A whole registry on real sockets, with the people that tests of the wire know, and what it logged. */
export interface WireWorld extends AsyncDisposable {
  readonly registry: StartedRegistry;
  /** Of the registry; on nodes each time that of the next, with nothing between. */
  readonly port: number;
  /** Of what clients ask: on nodes nginx. */
  readonly client: V2Client;
  readonly logs: readonly string[];
  /** The text of an access token, by `GET /token` with Basic; without a person an anonymous one. */
  token(person: Person | null, scope: string): Promise<string>;
  /** Open descriptors of this process on blobs and staged uploads. */
  openFiles(): readonly string[];
}

const SCOPES: RegistryOptions['scopes'] = {
  [OWNER.name]: ['repository:ghost/**:pull,push,delete', 'registry:catalog:*'],
  [PUSHER.name]: ['repository:ghost/**:push'],
  [PULLER.name]: ['repository:ghost/**:pull', 'registry:catalog:*'],
  [STRANGER.name]: ['repository:other/**:pull,push,delete', 'registry:catalog:*'],
};
const USERS = Object.fromEntries(
  [ADMIN, OWNER, PUSHER, PULLER, STRANGER].map(({ name, password }) => [name, password]),
);

export async function openWireWorld(options: RegistryOptions = {}): Promise<WireWorld> {
  const logs: string[] = [];
  const registry = await startRegistry({
    users: USERS,
    scopes: SCOPES,
    backend: 'fs',
    onLog: (line) => logs.push(line),
    ...options,
  });
  const client = new V2Client(Number(new URL(registry.registryUrl).port));
  let opened = 0;
  return {
    registry,
    get port() {
      return registry.registryPorts[opened++ % registry.registryPorts.length] ?? 0;
    },
    client,
    logs,
    token: async (person, scope) => {
      const query = new URLSearchParams({ service: registry.config.auth.service, scope });
      const headers = person === null ? {} : { authorization: basic(person) };
      const answer = await fetch(`${registry.registryUrl}/token?${query.toString()}`, { headers });
      assert.equal(answer.status, 200);
      return ((await answer.json()) as { token: string }).token;
    },
    openFiles: () => openFilesUnder(registry.directory),
    [Symbol.asyncDispose]: async () => {
      client.close();
      await registry.stop();
    },
  };
}

export interface Expected {
  readonly status: number;
  readonly [header: string]: number | string | RegExp | null;
}

/** Status, and headers by name: exact text, a pattern, or null for one that must not be there. */
export async function expectAnswer(answer: Promise<Answer>, expected: Expected): Promise<Answer> {
  const got = await answer;
  assert.equal(got.status, expected.status, got.body.toString().slice(0, 500));
  for (const [name, value] of Object.entries(expected)) {
    if (name === 'status') continue;
    const header = got.headers[name];
    if (value === null) assert.equal(header, undefined, name);
    else if (value instanceof RegExp) assert.match(String(header), value, name);
    else assert.equal(header, String(value), name);
  }
  return got;
}

/** The fields of a Bearer challenge, read with care for commas inside quotes. */
export function challengeOf(answer: Answer): Readonly<Record<string, string>> {
  const header = String(answer.headers['www-authenticate']);
  assert.match(header, /^Bearer /);
  return Object.fromEntries(
    [...header.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name ?? '', value ?? '']),
  );
}

/** Asks for something and hangs up as soon as the first bytes of the answer are there, or at once after sending. */
export function hangUp(
  port: number,
  request: string | Uint8Array,
  after: 'sending' | 'first bytes',
): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.once('close', () => resolve());
    socket.once('connect', () => {
      socket.write(request, () => {
        if (after === 'sending') socket.destroy();
      });
    });
    socket.once('data', () => socket.destroy());
  });
}

/** Waits until `isTrue`; fails with what `describe` says when that takes too long. */
export async function eventually(
  isTrue: () => boolean | Promise<boolean>,
  describe: () => string,
): Promise<void> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    if (await isTrue()) return;
    await new Promise((resolve) => {
      setTimeout(resolve, TRY_EVERY_MILLISECONDS);
    });
  }
  assert.fail(describe());
}

const TRIES_MAX = 2000;
const TRY_EVERY_MILLISECONDS = 10;

function openFilesUnder(directory: string): readonly string[] {
  const targets: string[] = [];
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      if (target.startsWith(`${directory}/blobs/`) || target.startsWith(`${directory}/uploads/`))
        targets.push(target);
    } catch {
      // Closed meanwhile.
    }
  }
  return targets;
}
