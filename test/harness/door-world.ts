import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { pino } from 'pino';
import type { BlobBody } from '../../src/blobs/blob-store.ts';
import type { Config, LimitsConfig, ServerConfig, TlsConfig } from '../../src/config/config.ts';
import type { Call, Reply } from '../../src/http/call.ts';
import { createFastify } from '../../src/http/create-fastify.ts';
import { createDoor, type Door } from '../../src/http/door.ts';
import type { Readiness } from '../../src/http/readiness.ts';
import { type Listeners, listen } from '../../src/http/server.ts';
import { RegistryError } from '../../src/oci/error-codes.ts';
import type { Telemetry } from '../../src/telemetry/telemetry.ts';

export type Handle = (call: Call) => Promise<Reply>;

export interface DoorWorldOptions {
  readonly handle?: Handle;
  readonly server?: Partial<ServerConfig>;
  readonly limits?: Partial<LimitsConfig>;
  readonly tls?: TlsConfig;
  readonly extraScope?: string;
  readonly readiness?: Readiness;
}

export interface DoorWorld extends AsyncDisposable {
  readonly listeners: Listeners;
  readonly door: Door;
  readonly port: number;
  readonly consolePort: number;
  /** The log lines, one object each. */
  readonly lines: Record<string, unknown>[];
  /** Routes, methods and statuses that were counted. */
  readonly samples: { route: string; method: string; status: number; bytesIn: number; bytesOut: number }[];
}

export const TEXT_REPLY: Reply = {
  status: 200,
  headers: { 'Content-Type': 'text/plain' },
  body: { kind: 'bytes', bytes: Buffer.from('hello') },
};

/** The door on real sockets, with a route table of one handler; `Authorization: Bearer ok` is everybody's token. */
export async function openDoor(options: DoorWorldOptions = {}): Promise<DoorWorld> {
  const config = configOf(options);
  const lines: Record<string, unknown>[] = [];
  const samples: DoorWorld['samples'] = [];
  const telemetry = recordingTelemetry(lines, samples);
  const fastify = await createFastify({
    config,
    readiness: async () => options.readiness ?? { ok: true, parts: [] },
    expositionAll: async () => 'up 1\n',
    version: '1.2.3',
  });
  await fastify.ready();
  const door = createDoor({
    config,
    fastify,
    telemetry,
    clock: { now: () => Date.now() },
    guard: {
      identify: async ({ authorization }) => {
        const known = authorization.length === 1 && authorization[0] === 'Bearer ok';
        const grants: [] = [];
        return known
          ? {
              principal: { kind: 'person', name: 'ann', administrator: true, grants },
              via: 'token',
              tokenScopes: null,
            }
          : {
              principal: { kind: 'anonymous', name: '', administrator: false, grants },
              via: 'none',
              tokenScopes: null,
            };
      },
      authorize: (caller) => {
        if (caller.via === 'none') {
          throw new RegistryError('UNAUTHORIZED', null, {
            challenge: { scope: 'repository:a:pull', error: null },
          });
        }
      },
      challengeScope: () => 'repository:a:pull',
    },
    v2: {
      resolve: () => ({
        routeClass: 'v2_test',
        need: { kind: 'authenticated' },
        repository: null,
        extraScope: options.extraScope ?? null,
        handle: options.handle ?? (async () => TEXT_REPLY),
      }),
    },
  });
  const listeners = await listen({ config, door, telemetry });
  return {
    listeners,
    door,
    port: listeners.registry.port,
    consolePort: listeners.console.port,
    lines,
    samples,
    [Symbol.asyncDispose]: async () => {
      await listeners.close();
      await fastify.close();
    },
  };
}

function configOf(options: DoorWorldOptions): Config {
  return {
    server: {
      bind: { host: '127.0.0.1', port: 0 },
      ui: { host: '127.0.0.1', port: 0 },
      workers: 1,
      externalUrl: null,
      trustedProxies: ['127.0.0.0/8'],
      trustedClientProxies: [],
      drainSecondsMax: 1,
      ...options.server,
    },
    tls: options.tls ?? null,
    limits: {
      bodyIdleSecondsMax: 5,
      connectionsMax: 1000,
      connectionsPerAddressMax: 1000,
      ...options.limits,
    },
    auth: { service: 'drift.test' },
  } as unknown as Config;
}

function recordingTelemetry(lines: DoorWorld['lines'], samples: DoorWorld['samples']): Telemetry {
  const write = (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>);
  const log = pino({ level: 'info' }, { write });
  return {
    logger: () => log,
    writeLine: (_subsystem: string, fields: string, message: string) =>
      log.info(JSON.parse(`{${fields}}`), message),
    metrics: { requestFinished: (sample: DoorWorld['samples'][number]) => samples.push(sample) },
  } as unknown as Telemetry;
}

/** A client that says exactly what it is told to, byte for byte. */
export class RawClient {
  readonly socket: Socket;
  /** A reset is an end like any other here. */
  readonly #closed: Promise<unknown>;
  #received = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    this.#closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    socket.on('error', () => {});
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  get text(): string {
    return this.#received.toString('latin1');
  }

  send(text: string | Uint8Array): void {
    this.socket.write(text);
  }

  /** Waits until what came so far matches. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.text)) {
      if (this.socket.closed) throw new Error(`closed before ${pattern}: ${this.text.slice(0, 500)}`);
      await Promise.race([new Promise((resolve) => this.socket.once('data', resolve)), this.#closed]);
    }
    return this.text;
  }

  async untilClosed(): Promise<string> {
    await this.#closed;
    return this.text;
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Sends one request and gives all that came back until the server closed. */
export async function exchangeRaw(port: number, request: string): Promise<string> {
  const client = await RawClient.open(port);
  client.send(request);
  return await client.untilClosed();
}

/** A blob whose closing can be watched. */
export class WatchedBody implements BlobBody {
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly closed: Promise<void>;
  closes = 0;
  #tellClosed: () => void = () => {};

  constructor(sizeBytes: number, chunks: AsyncIterable<Uint8Array>) {
    this.sizeBytes = sizeBytes;
    this.chunks = chunks;
    this.closed = new Promise((resolve) => {
      this.#tellClosed = resolve;
    });
  }

  async close(): Promise<void> {
    this.closes += 1;
    this.#tellClosed();
  }
}
