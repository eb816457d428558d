import type { AddressInfo } from 'node:net';
import { type Access, openAccess } from './access/open-access.ts';
import type { ConfiguredPeople } from './access/user-directory.ts';
import type { BlobStore } from './blobs/blob-store.ts';
import type { Config } from './config/config.ts';
import { addressOf, createFastify, notePrincipal } from './http/create-fastify.ts';
import { createDoor } from './http/door.ts';
import { createReadiness } from './http/readiness.ts';
import { type Listeners, listen } from './http/server.ts';
import { tokenRoutes } from './http/token-routes.ts';
import { createV2 } from './http/v2/route.ts';
import type { MetaStore } from './meta/meta-store.ts';
import { closeStores, openStores, type Stores } from './process/open-stores.ts';
import { createRegistry } from './registry/registry.ts';
import type { Clock } from './std/clock.ts';
import { readVersion } from './std/version.ts';
import type { Telemetry } from './telemetry/telemetry.ts';

/** One process that serves both listeners: everything is put together here and nowhere else. */
export interface App {
  readonly registry: AddressInfo;
  readonly console: AddressInfo;
  readonly meta: MetaStore;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  /** Who may come in from now on, and the TLS files as they are now; throws a sentence and then changes nothing. */
  reload(people: ConfiguredPeople): Promise<void>;
  /** No new requests; running ones get so long. Everything is closed when it resolves. */
  stop(drainMilliseconds: number): Promise<void>;
}

export interface AppOptions {
  readonly config: Config;
  readonly people: ConfiguredPeople;
  /** The same for all processes of one run of the program. */
  readonly runId: string;
  readonly telemetry: Telemetry;
  /** The metrics of all processes; of this one alone when absent. */
  readonly expositionAll?: () => Promise<string>;
  readonly clock?: Clock;
  /** Other workers listen on the same addresses. */
  readonly sharesPorts?: boolean;
}

export async function startApp(options: AppOptions): Promise<App> {
  const stores = await openStores(options.config, options.telemetry);
  let access: Access | null = null;
  try {
    access = await openAccess({
      meta: stores.meta,
      clock: options.clock ?? stores.clock,
      metrics: options.telemetry.metrics,
      auth: options.config.auth,
      people: options.people,
      passwordChecksMax: options.config.limits.passwordChecksMax,
    });
    return await openDoors(options, stores, access);
  } catch (error) {
    await access?.close();
    await closeStores(stores);
    throw error;
  }
}

async function openDoors(options: AppOptions, stores: Stores, access: Access): Promise<App> {
  const { config, telemetry } = options;
  const clock = options.clock ?? stores.clock;
  const { guard } = access;
  const registry = createRegistry({ ...stores, config, clock, runId: options.runId, telemetry });
  const v2 = createV2({ registry, guard, config });
  const fastify = await openFastify(options, stores, access);
  const door = createDoor({ config, v2, guard, fastify, telemetry, clock });
  const listeners: Listeners = await listen({
    config,
    door,
    telemetry,
    sharesPorts: options.sharesPorts ?? false,
  });
  return {
    ...stores,
    clock,
    registry: listeners.registry,
    console: listeners.console,
    async reload(people) {
      await listeners.reloadTls();
      access.users.replace(people);
    },
    async stop(drainMilliseconds) {
      await listeners.drain(drainMilliseconds);
      await fastify.close();
      await access.close();
      await closeStores(stores);
    },
  };
}

async function openFastify(options: AppOptions, stores: Stores, access: Access) {
  const { config, telemetry } = options;
  const fastify = await createFastify({
    config,
    version: readVersion(),
    expositionAll: options.expositionAll ?? (() => telemetry.metrics.exposition()),
    readiness: createReadiness({
      ...stores,
      reserveBytes: config.storage.reserveBytes,
      clock: options.clock ?? stores.clock,
      isDraining: () => stores.meta.read.nodes.isDraining(options.runId),
      log: telemetry.logger('http'),
    }),
  });
  await fastify.register(tokenRoutes, {
    tokenServer: access.tokenServer,
    identifyAddress: addressOf,
    notePrincipal,
  });
  await fastify.ready();
  return fastify;
}
