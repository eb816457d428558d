import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Guard } from '../access/guard.ts';
import type { Config } from '../config/config.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { Clock } from '../std/clock.ts';
import { Unavailable } from '../std/unavailable.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { createOrigins } from './base-url.ts';
import type { Reply } from './call.ts';
import { isOurFault, renderError } from './errors.ts';
import type { Surface } from './exchange.ts';
import { Exchange, rememberExchange } from './exchange.ts';
import { lingerThenEnd } from './linger.ts';
import type { SentReply } from './reply.ts';
import { destroyInTurn, writeReply } from './reply.ts';
import { recordRequest } from './request-log.ts';
import { isPlainPath, splitTarget } from './request-target.ts';
import type { ResolvedRoute, V2 } from './v2/route.ts';

export interface DoorDependencies {
  readonly config: Config;
  readonly v2: V2;
  readonly guard: Pick<Guard, 'identify' | 'authorize' | 'challengeScope'>;
  /** After `ready()`. */
  readonly fastify: { routing(message: IncomingMessage, response: ServerResponse): void };
  readonly telemetry: Telemetry;
  readonly clock: Clock;
}

export interface DoorListener {
  readonly onRequest: (message: IncomingMessage, response: ServerResponse) => void;
  readonly onCheckContinue: (message: IncomingMessage, response: ServerResponse) => void;
}

export interface Door {
  readonly registryListener: DoorListener;
  readonly consoleListener: DoorListener;
  /** For one port that serves both. */
  readonly sharedListener: DoorListener;
  readonly running: ReadonlySet<Exchange>;
  /** From now on every answer closes its connection. */
  startDrain(): void;
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

export function createDoor(deps: DoorDependencies): Door {
  const rooms = new DoorRooms(deps);
  return {
    registryListener: rooms.listener('registry'),
    consoleListener: rooms.listener('console'),
    sharedListener: rooms.listener('shared'),
    running: rooms.running,
    startDrain: () => rooms.startDrain(),
  };
}

/** Splits the target once and hands the request to `/v2` or to Fastify; answers, logs and counts what comes back. */
class DoorRooms {
  readonly running = new Set<Exchange>();
  readonly #deps: DoorDependencies;
  readonly #record: Parameters<typeof recordRequest>[0];
  readonly #settings: ConstructorParameters<typeof Exchange>[0]['settings'];
  #draining = false;

  constructor(deps: DoorDependencies) {
    this.#deps = deps;
    const { telemetry } = deps;
    this.#record = {
      log: telemetry.logger('http'),
      writeLine: (subsystem, fields, message) => telemetry.writeLine(subsystem, fields, message),
      metrics: telemetry.metrics,
    };
    this.#settings = {
      origins: createOrigins(deps.config.server),
      bodyIdleMillisecondsMax: deps.config.limits.bodyIdleSecondsMax * 1000,
    };
  }

  listener(surface: Surface): DoorListener {
    return {
      onRequest: (message, response) => this.#receive(surface, message, response, false),
      onCheckContinue: (message, response) => this.#receive(surface, message, response, true),
    };
  }

  startDrain(): void {
    this.#draining = true;
    for (const { response } of this.running) if (!response.headersSent) response.shouldKeepAlive = false;
  }

  #receive(surface: Surface, message: IncomingMessage, response: ServerResponse, waits: boolean): void {
    const settings = this.#settings;
    const exchange = new Exchange({ settings, surface, message, response, expectsContinue: waits });
    this.running.add(exchange);
    // node drops what came in one read with a request to upgrade: what follows must not wait for an answer (RFC 9112, 9.3).
    if (this.#draining || message.headers.upgrade !== undefined) response.shouldKeepAlive = false;
    const target = splitTarget(message.url);
    if (target === null) {
      exchange.path = message.url ?? '';
      this.#refuse(exchange, new RegistryError('REQUEST_INVALID', 'the request target is not a plain path'));
      return;
    }
    // RFC 9112, 3.2: node refuses a request without `Host`, but takes the first of two.
    if (linesOf(message, 'host').length > 1) {
      response.shouldKeepAlive = false;
      this.#refuse(
        exchange,
        new RegistryError('REQUEST_INVALID', 'the request has more than one Host header'),
      );
      return;
    }
    exchange.path = target.path;
    exchange.queryText = target.query;
    if (!METHODS.has(exchange.method)) {
      response.shouldKeepAlive = false;
      this.#refuse(exchange, new RegistryError('METHOD_NOT_ALLOWED', null, { headers: { Allow: ALLOW } }));
    } else if (isUnder(target.path, '/v2')) {
      exchange.routeClass = 'v2_other';
      this.#enterV2(exchange);
    } else if (isUnder(target.path, '/v1')) {
      this.#refuse(exchange, new RegistryError('NOT_FOUND', 'the registry API version 1 is not served here'));
    } else {
      this.#enterFastify(exchange, waits);
    }
  }

  #enterV2(exchange: Exchange): void {
    if (exchange.surface === 'console') {
      const { bind, externalUrl } = this.#deps.config.server;
      const where = externalUrl ?? `port ${bind.port}`;
      this.#refuse(
        exchange,
        new RegistryError('NOT_FOUND', `this is the console: the registry is at ${where}`),
      );
    } else if (!isPlainPath(exchange.path)) {
      this.#refuse(exchange, new RegistryError('REQUEST_INVALID', 'the path holds escapes that no name has'));
    } else {
      void this.#serve(exchange, () => this.#answerV2(exchange));
    }
  }

  /** Route, then who, then whether, then the desk: all on the one path that was split above. */
  async #answerV2(exchange: Exchange): Promise<Reply> {
    const { v2, guard } = this.#deps;
    const route = v2.resolve(exchange);
    exchange.routeClass = route.routeClass;
    exchange.repository = route.repository;
    try {
      exchange.caller = await guard.identify({
        authorization: linesOf(exchange.message, 'authorization'),
        address: exchange.address,
        challengeScope: guard.challengeScope(route.need, route.repository),
      });
      exchange.principalName = exchange.caller.principal.name;
      guard.authorize(exchange.caller, route.need, route.repository);
    } catch (error) {
      throw withExtraScope(error, route);
    }
    return await route.handle(exchange);
  }

  #refuse(exchange: Exchange, error: RegistryError): void {
    void this.#serve(exchange, () => Promise.reject(error));
  }

  /** Never rejects. */
  async #serve(exchange: Exchange, answer: () => Promise<Reply>): Promise<void> {
    let fault: unknown = null;
    let status = 0;
    let sent: SentReply = { bytesOut: 0, outcome: 'client_gone', error: null };
    try {
      try {
        const reply = await answer();
        status = reply.status;
        const sending = this.#send(exchange, reply);
        // Most replies are sent by now, and waiting for what is there costs a turn of its own.
        sent = sending instanceof Promise ? await sending : sending;
        // A client that leaves breaks the answer too, but nobody here has to look at that.
        if (isGone(sent.error)) sent = { ...sent, outcome: 'client_gone', error: null };
        fault = sent.error;
      } catch (thrown) {
        const error = exchange.endReason ?? thrown;
        if (!exchange.clientGone) {
          if (isOurFault(error)) fault = error;
          const reply = renderError(presentable(error), this.#errorContext(exchange));
          status = reply.status;
          sent = await this.#send(exchange, reply);
        }
      }
    } catch (error) {
      fault = error;
      destroyInTurn(exchange.response);
    }
    this.running.delete(exchange);
    const cut = sent.outcome === 'sent' ? null : sent.outcome;
    // 499 is what proxies log for a client that left before there was a status.
    recordRequest(this.#record, exchange, {
      status: status === 0 ? (exchange.statusOnWire ?? 499) : status,
      bytesOut: sent.bytesOut,
      cut,
      fault,
    });
  }

  #send(exchange: Exchange, reply: Reply): SentReply | Promise<SentReply> {
    const { response, message, method } = exchange;
    const { kind } = reply.body;
    const streamed = kind === 'blob' || kind === 'ranges';
    const unfinished = hasBody(message) && !message.complete;
    // What is left of the body cannot be told from the next request, above all when `100 Continue` was never sent.
    if (unfinished) response.shouldKeepAlive = false;
    const sent = writeReply(response, reply, {
      method,
      doorHeaders: [...DOOR_HEADERS, exchange.requestId],
      idleMillisecondsMax: this.#settings.bodyIdleMillisecondsMax,
      keepOpen: unfinished && !streamed,
    });
    if (!unfinished || streamed || sent instanceof Promise) return sent;
    return lingerThenEnd(message, response).then(() => sent);
  }

  #enterFastify(exchange: Exchange, waits: boolean): void {
    const { response, message } = exchange;
    rememberExchange(exchange);
    response.setHeader('X-Request-Id', exchange.requestId);
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.once('close', () => {
      this.running.delete(exchange);
      const length = Number(response.getHeader('content-length') ?? 0);
      recordRequest(this.#record, exchange, {
        status: response.headersSent ? response.statusCode : 499,
        bytesOut: exchange.method === 'HEAD' ? 0 : length,
        cut: response.writableFinished ? null : 'client_gone',
        fault: exchange.fault,
      });
    });
    // Fastify waits for a body as long as it takes.
    if (hasBody(message)) message.socket.setTimeout(this.#settings.bodyIdleMillisecondsMax);
    if (waits) response.writeContinue();
    this.#deps.fastify.routing(message, response);
  }

  #errorContext(exchange: Exchange): Parameters<typeof renderError>[1] {
    const { requestId, baseUrl } = exchange;
    return { requestId, baseUrl, service: this.#deps.config.auth.service };
  }
}

const ALLOW = 'GET, HEAD, POST, PUT, PATCH, DELETE';
/** The request id follows as the last value. */
const DOOR_HEADERS = [
  'Docker-Distribution-Api-Version',
  'registry/2.0',
  'X-Content-Type-Options',
  'nosniff',
  'X-Request-Id',
];

function isUnder(path: string, root: string): boolean {
  return path.startsWith(root) && (path.length === root.length || path.charCodeAt(root.length) === 0x2f);
}

function hasBody({ headers }: IncomingMessage): boolean {
  if (headers['transfer-encoding'] !== undefined) return true;
  const length = headers['content-length'];
  return length !== undefined && length !== '0';
}

/** Every line of a header, given in lower case: `headers` keeps only the first `Host` or `Authorization` of several. */
function linesOf({ rawHeaders }: IncomingMessage, lowerName: string): readonly string[] {
  const values: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (name.length === lowerName.length && name.toLowerCase() === lowerName)
      values.push(rawHeaders[index + 1] ?? '');
  }
  return values;
}

/** A mount needs a right on its source too: the challenge names both, or the client fetches half a token. */
function withExtraScope(error: unknown, { extraScope }: ResolvedRoute): unknown {
  if (extraScope === null || !(error instanceof RegistryError) || error.challenge === null) return error;
  const { scope } = error.challenge;
  return new RegistryError(error.code, error.message, {
    detail: error.detail,
    cause: error.cause,
    headers: error.headers,
    challenge: { ...error.challenge, scope: scope === null ? extraScope : `${scope} ${extraScope}` },
    ...(error.retryAfterSeconds === null ? {} : { retryAfterSeconds: error.retryAfterSeconds }),
  });
}

function isGone(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** A request that was ended by us, not by its client, is worth another try. */
function presentable(error: unknown): unknown {
  if (!isGone(error)) return error;
  return new Unavailable('registry', 'ended before it was done', { retryable: true, cause: error });
}
