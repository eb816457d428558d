import type { Server as HttpServer, ServerOptions } from 'node:http';
import { createServer as createHttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import type { Config, ListenAddress, TlsConfig } from '../config/config.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { answerClientError, refuseTunnel, responseOn, whenErrorIsDue } from './client-error.ts';
import { ConnectionCount } from './connection-limits.ts';
import type { Door, DoorListener } from './door.ts';
import type { TlsMaterial } from './tls.ts';
import { readTlsMaterial, watchTlsFiles } from './tls.ts';

type Server = HttpServer | HttpsServer;

const HEADERS_SECONDS_MAX = 60;
/** Longer than the minute that proxies keep theirs, or they send into a closing connection. */
const KEEP_ALIVE_SECONDS = 75;
/** Lazy pullers send long `Range` headers. */
const HEADER_BYTES_MAX = 32 * 1024;
/** What requests get to answer after their signal has aborted, and idle connections to close. */
const LAST_WORDS_MILLISECONDS = 500;
const DRAIN_POLL_MILLISECONDS = 10;
/** Elsewhere node refuses the option, and node:cluster hands connections over. */
const REUSES_PORTS = process.platform === 'linux';

export interface Listeners {
  readonly registry: AddressInfo;
  /** The same as `registry` when one port serves both. */
  readonly console: AddressInfo;
  readonly connections: { readonly total: number };
  /** Reads the TLS files again. Bad ones change nothing and throw a sentence. Without TLS: no effect. */
  reloadTls(): Promise<void>;
  /** Stops accepting, gives running requests so many milliseconds, then aborts them. Resolves when all is closed. */
  drain(milliseconds: number): Promise<void>;
  close(): Promise<void>;
}

/** Opens the listeners of the configuration. Rejects with node's own error (`EADDRINUSE`…) when one cannot be opened. */
export async function listen(deps: {
  readonly config: Pick<Config, 'server' | 'tls' | 'limits'>;
  readonly door: Door;
  readonly telemetry: Pick<Telemetry, 'logger'>;
  /**
   * Other processes of this program listen on the same addresses. Each has a queue of its own then (SO_REUSEPORT), and a
   * process that dies takes down its connections at once. Handed over by node:cluster instead, a connection to a worker
   * that dies at that moment stays open for ever and unanswered.
   */
  readonly sharesPorts?: boolean;
}): Promise<Listeners> {
  const { config, door } = deps;
  const sharing =
    deps.sharesPorts === true && REUSES_PORTS ? { reusePort: true, exclusive: true } : { exclusive: false };
  const { bind, ui } = config.server;
  const material = config.tls === null ? null : await readTlsMaterial(config.tls);
  const log = deps.telemetry.logger('http');
  const { trustedClientProxies } = config.server;
  const connections = new ConnectionCount({ ...config.limits, trustedClientProxies }, log);
  const servers: Server[] = [];

  async function open(address: ListenAddress, listener: DoorListener): Promise<AddressInfo> {
    const server = createServer(material, listener);
    connections.watch(server);
    server.on('clientError', (error: Error & { code?: string }, socket) => {
      whenErrorIsDue(error, socket as Socket, () => {
        const response = responseOn(socket as Socket);
        const status = answerClientError(error, socket as Socket);
        const exchange = [...door.running].find((each) => each.response === response);
        if (exchange !== undefined) exchange.cutOff(status);
        else if (status !== null) {
          log.info({ status, route: 'malformed', reason: error.code ?? 'UNKNOWN' }, 'request');
        }
      });
    });
    server.on('connect', (_message, socket) => {
      refuseTunnel(socket as Socket);
      // node has let go of it, and tells only the response under way that the client left.
      socket.once('close', () => {
        for (const { message, response } of door.running) if (message.socket === socket) response.destroy();
      });
    });
    servers.push(server);
    return await openServer(server, { ...address, ...sharing });
  }

  try {
    const together = bind.port === ui.port && bind.host === ui.host && bind.port !== 0;
    const registry = await open(bind, together ? door.sharedListener : door.registryListener);
    const console = together ? registry : await open(ui, door.consoleListener);
    const tls = config.tls === null ? null : keepTlsFresh({ config: config.tls, servers, log });
    return {
      registry,
      console,
      connections,
      reloadTls: async () => await tls?.reload(),
      drain: async (milliseconds) => {
        tls?.close();
        await drainServers(servers, door, milliseconds);
      },
      close: async () => {
        tls?.close();
        await drainServers(servers, door, 0);
      },
    };
  } catch (error) {
    for (const server of servers) server.close(() => {});
    throw error;
  }
}

function createServer(material: TlsMaterial | null, listener: DoorListener): Server {
  const options: ServerOptions = {
    // Large uploads take as long as they take: their bodies have an idle limit of their own.
    requestTimeout: 0,
    headersTimeout: HEADERS_SECONDS_MAX * 1000,
    keepAliveTimeout: KEEP_ALIVE_SECONDS * 1000,
    maxHeaderSize: HEADER_BYTES_MAX,
    insecureHTTPParser: false,
    noDelay: true,
  };
  const server =
    material === null ? createHttpServer(options) : createHttpsServer({ ...options, ...material });
  server.on('request', listener.onRequest);
  server.on('checkContinue', listener.onCheckContinue);
  // No listener for `upgrade`: node then serves the request as if the header were not there (RFC 9110, 7.8).
  return server;
}

function openServer(server: Server, options: ListenAddress & ListenOptions): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve(server.address() as AddressInfo);
    });
  });
}

function keepTlsFresh(options: {
  readonly config: TlsConfig;
  readonly servers: readonly Server[];
  readonly log: ReturnType<Telemetry['logger']>;
}): { reload(): Promise<void>; close(): void } {
  const { config, servers, log } = options;
  async function reload(): Promise<void> {
    const material = await readTlsMaterial(config);
    for (const server of servers) if ('setSecureContext' in server) server.setSecureContext(material);
  }
  const watcher = watchTlsFiles(config, () => {
    reload().then(
      () => log.info('TLS certificate reloaded'),
      (error: unknown) =>
        log.error({ err: error }, 'new TLS files cannot be used; the old certificate stays'),
    );
  });
  return { reload, close: () => watcher.close() };
}

async function drainServers(servers: readonly Server[], door: Door, milliseconds: number): Promise<void> {
  door.startDrain();
  const closed = Promise.all(servers.map((server) => closeServer(server)));
  await waitUntilIdle(door, milliseconds);
  const over = new RegistryError('UNAVAILABLE', 'the registry is shutting down; try again', {
    retryAfterSeconds: 5,
  });
  for (const exchange of door.running) exchange.abort(over);
  await waitUntilIdle(door, LAST_WORDS_MILLISECONDS);
  for (const server of servers) server.closeIdleConnections();
  const deadline = setTimeout(() => {
    for (const server of servers) server.closeAllConnections();
  }, LAST_WORDS_MILLISECONDS);
  await closed;
  clearTimeout(deadline);
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

async function waitUntilIdle(door: Door, milliseconds: number): Promise<void> {
  const deadline = performance.now() + milliseconds;
  while (door.running.size > 0 && performance.now() < deadline) {
    await new Promise((resolve) => {
      setTimeout(resolve, DRAIN_POLL_MILLISECONDS);
    });
  }
}
