import { once } from 'node:events';
import type { Server, Socket } from 'node:net';
import { createHttpServer } from './fault-proxy-http.ts';
import { createTcpServer } from './fault-proxy-tcp.ts';
import { FaultSchedule, Lane } from './fault-schedule.ts';
import { freePort } from './free-port.ts';

/** What goes wrong between a client and a service. `up` is towards the service, `down` towards the client. */
export type Fault =
  | { readonly kind: 'pass' }
  /** Nobody listens at the port, and what was connected is reset. */
  | { readonly kind: 'refuse' }
  /** Connections are taken, what they send is left unread, and nothing is answered. */
  | { readonly kind: 'hang' }
  /** HTTP: each request waits so long before it goes on. Otherwise: each piece of bytes does, either way. */
  | { readonly kind: 'delay'; readonly milliseconds: number }
  /** The line is narrow: the bytes (HTTP: of bodies) of all connections together pass no faster, either way. */
  | { readonly kind: 'throttle'; readonly bytesPerSecond: number }
  /** Both sides lose the connection after so many bytes (HTTP: of a body) in that direction. */
  | { readonly kind: 'reset'; readonly direction: 'up' | 'down'; readonly afterBytes: number }
  /** The client sees the connection end in good order after so many bytes of an answer (HTTP: of its body). */
  | { readonly kind: 'truncate'; readonly afterBytes: number }
  /** HTTP only: the service is not asked. */
  | ({ readonly kind: 'answer' } & CannedAnswer);

export interface CannedAnswer {
  readonly status: number;
  readonly body: string;
  readonly contentType?: string;
}

/** Which requests (HTTP) or connections meet the fault; the others pass. */
export interface Occasion {
  readonly method?: string;
  /** The path with its query. */
  readonly path?: RegExp;
  /** How many meet it before all pass again. Default: until told otherwise. */
  readonly times?: number;
}

/** A service behind a line that goes bad on command. */
export interface FaultProxy extends AsyncDisposable {
  readonly port: number;
  /** The same address with the proxy's port in it. */
  through(url: string): string;
  /** From now on, for connections that are open too. Resolves when it holds. */
  set(fault: Fault, occasion?: Occasion): Promise<void>;
  /** How many requests (HTTP) or connections met the present fault. */
  readonly met: number;
  /** Bytes that were let through since the start. */
  readonly bytes: { readonly up: number; readonly down: number };
}

export interface FaultProxyOptions {
  /** On 127.0.0.1. */
  readonly targetPort: number;
  /** `http`: faults per request; the answers of an S3 server can be given. `tcp`: anything else. */
  readonly protocol: 'http' | 'tcp';
}

export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const proxy = new Proxy({ ...options, port: await freePort() });
  await proxy.set({ kind: 'pass' });
  return proxy;
}

class Proxy implements FaultProxy {
  readonly port: number;
  readonly bytes = { up: 0, down: 0 };
  readonly #schedule = new FaultSchedule();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor({ port, protocol, targetPort }: FaultProxyOptions & { readonly port: number }) {
    this.port = port;
    const lanes = { up: new Lane(), down: new Lane() };
    const parts = { targetPort, schedule: this.#schedule, bytes: this.bytes, lanes };
    this.#server = protocol === 'http' ? createHttpServer(parts) : createTcpServer(parts);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  get met(): number {
    return this.#schedule.met;
  }

  through(url: string): string {
    const address = new URL(url);
    address.port = String(this.port);
    return address.href.replace(/\/$/, '');
  }

  async set(fault: Fault, occasion: Occasion = {}): Promise<void> {
    if (fault.kind === 'refuse') await this.#shut();
    else if (!this.#server.listening) await once(this.#server.listen(this.port, '127.0.0.1'), 'listening');
    this.#schedule.set(fault, occasion);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#shut();
  }

  async #shut(): Promise<void> {
    for (const socket of this.#sockets) socket.resetAndDestroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** An error as S3 servers word it. */
export function s3Error(status: number, code: string): Fault {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>as the test wants it</Message></Error>`;
  return { kind: 'answer', status, body, contentType: 'application/xml' };
}

export const INTERNAL_ERROR = s3Error(500, 'InternalError');
export const UNAVAILABLE = s3Error(503, 'ServiceUnavailable');
export const SLOW_DOWN = s3Error(503, 'SlowDown');
