import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Access, openAccess } from '../../src/access/open-access.ts';
import type { BlobStore } from '../../src/blobs/blob-store.ts';
import { openFsBlobStore } from '../../src/blobs/fs/fs-blob-store.ts';
import { readConfig } from '../../src/config/read.ts';
import { createDoor } from '../../src/http/door.ts';
import { listen as listenOn } from '../../src/http/server.ts';
import { createV2 } from '../../src/http/v2/route.ts';
import type { MetaStore } from '../../src/meta/meta-store.ts';
import { openTemporaryMetaStore } from '../../src/meta/sqlite/temporary-meta-store.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { systemClock } from '../../src/std/clock.ts';
import { createTelemetry } from '../../src/telemetry/create-telemetry.ts';
import { ADMIN, basic, OWNER, type Person, PULLER, PUSHER, STRANGER, V2Client } from './v2-client.ts';

export interface V2Server {
  readonly client: V2Client;
  /** A second process, as far as anybody can tell: same ledger, same vault, nothing else shared. */
  readonly other: V2Client;
  /** An access token as `/token` gives it. */
  issueToken(person: Person, scope: string): Promise<string>;
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  /** Moves what the registry takes for now. */
  readonly clock: { now(): number; advance(seconds: number): void };
  stop(): Promise<void>;
}

const USERS = [ADMIN, OWNER, PUSHER, PULLER, STRANGER]
  .map(({ name, password }) => `${name}:${password}`)
  .join(',');
const SCOPES = [
  `${OWNER.name}=repository:ghost/**:pull,push,delete registry:catalog:*`,
  `${PUSHER.name}=repository:ghost/**:push`,
  `${PULLER.name}=repository:ghost/**:pull registry:catalog:*`,
  `${STRANGER.name}=repository:other/**:pull,push,delete registry:catalog:*`,
].join(';');

/** The registry's door on a real socket, over a real ledger and a real vault, with real users. */
export async function startV2(env: Readonly<Record<string, string>> = {}): Promise<V2Server> {
  const directory = mkdtempSync(join(tmpdir(), 'drift-v2-'));
  const { config } = readConfig({
    flags: {},
    env: {
      DRIFT_USERS: USERS,
      DRIFT_USER_SCOPES: SCOPES,
      DRIFT_FS_ROOT: directory,
      DRIFT_LOG: 'off',
      DRIFT_BIND_ADDR: '127.0.0.1:0',
      DRIFT_UI_ADDR: '127.0.0.1:0',
      ...env,
    },
    cwd: directory,
  });
  let ahead = 0;
  const clock = {
    now: () => systemClock.now() + ahead,
    advance: (seconds: number) => {
      ahead += seconds * 1000;
    },
  };
  const telemetry = createTelemetry({ ...config.logging, version: 'test', role: 'test' });
  const meta = await openTemporaryMetaStore();
  const blobs = await openFsBlobStore({ root: directory });
  const runId = randomBytes(8).toString('hex');
  const stops: (() => Promise<void>)[] = [];
  const accesses: Access[] = [];
  const listen = async (): Promise<V2Client> => {
    const access = await openAccess({
      meta,
      clock,
      metrics: telemetry.metrics,
      auth: config.auth,
      people: { users: config.auth.users, passwords: config.secrets.passwords, htpasswd: [] },
      passwordChecksMax: config.limits.passwordChecksMax,
    });
    accesses.push(access);
    const { guard } = access;
    const registry = createRegistry({ meta, blobs, config, clock, runId, telemetry });
    const v2 = createV2({ registry, guard, config });
    const fastify = { routing: () => {} };
    const door = createDoor({ config, v2, guard, fastify, telemetry, clock });
    const listeners = await listenOn({ config, door, telemetry });
    const client = new V2Client(listeners.registry.port);
    stops.push(async () => {
      client.close();
      await listeners.close();
      await access.close();
    });
    return client;
  };
  const [client, other] = [await listen(), await listen()];
  return {
    client,
    other,
    issueToken: async (person, scope) => {
      const parameters = new URLSearchParams({ service: config.auth.service, scope });
      const request = { parameters, address: '127.0.0.1', authorization: [basic(person)] };
      const answer = await accesses[0]?.tokenServer.issueByQuery(request);
      return answer?.token ?? '';
    },
    meta,
    blobs,
    clock,
    stop: async () => {
      for (const stop of stops) await stop();
      await blobs.close();
      await meta.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
