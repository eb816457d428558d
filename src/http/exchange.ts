import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '../access/principal.ts';
import type { Origins } from './base-url.ts';
import type { Call } from './call.ts';
import { IncomingBody } from './request-body.ts';

/** Which listener a request came in by. `shared`: one port for both. */
export type Surface = 'registry' | 'console' | 'shared';

export interface ExchangeSettings {
  readonly origins: Origins;
  readonly bodyIdleMillisecondsMax: number;
}

/** Notes of one log line, and characters of each. */
const NOTES_MAX = 16;
const NOTE_LENGTH_MAX = 256;
const SAFE_REQUEST_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{7,63}$/;
/** Nobody writes to a query. */
const NO_QUERY = new URLSearchParams();
const NOBODY: Caller = {
  principal: { kind: 'anonymous', name: '', administrator: false, grants: [] },
  via: 'none',
  tokenScopes: null,
};

/** One request and its answer while they last. What not every request needs is made when it is first asked for. */
export class Exchange implements Call {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly surface: Surface;
  readonly method: string;
  readonly requestId: string;
  readonly address: string;
  readonly startedAt = performance.now();
  path = '';
  queryText = '';
  /** For metrics and the log: from a closed set. */
  routeClass = 'none';
  repository: string | null = null;
  caller: Caller = NOBODY;
  principalName = '';
  notes: Record<string, string | number> | null = null;
  /** What went wrong here and needs somebody to look at it, as a handler of Fastify's found it. */
  fault: unknown = null;
  /** Why the exchange was ended from outside; null while it was not. */
  endReason: Error | null = null;
  /** Status that was written past the response, to a request that broke off as invalid HTTP. */
  statusOnWire: number | null = null;
  readonly #settings: ExchangeSettings;
  readonly #expectsContinue: boolean;
  #body: IncomingBody | null = null;
  #controller: AbortController | null = null;
  #query: URLSearchParams | null = null;
  #baseUrl: string | null = null;
  #noteCount = 0;

  constructor(options: {
    readonly settings: ExchangeSettings;
    readonly surface: Surface;
    readonly message: IncomingMessage;
    readonly response: ServerResponse;
    readonly expectsContinue: boolean;
  }) {
    this.#settings = options.settings;
    this.#expectsContinue = options.expectsContinue;
    this.surface = options.surface;
    this.message = options.message;
    this.response = options.response;
    // Asked for at once: a socket that has gone no longer knows its peer.
    this.address = options.settings.origins.clientAddress(options.message);
    this.method = options.message.method ?? 'GET';
    const sent = options.message.headers['x-request-id'];
    this.requestId = typeof sent === 'string' && SAFE_REQUEST_ID.test(sent) ? sent : randomUUID();
  }

  get headers(): IncomingHttpHeaders {
    return this.message.headers;
  }

  get query(): URLSearchParams {
    this.#query ??= this.queryText === '' ? NO_QUERY : new URLSearchParams(this.queryText);
    return this.#query;
  }

  get baseUrl(): string {
    this.#baseUrl ??= this.#settings.origins.baseUrl(this.message);
    return this.#baseUrl;
  }

  get body(): IncomingBody {
    this.#body ??= new IncomingBody({
      message: this.message,
      response: this.response,
      expectsContinue: this.#expectsContinue,
      idleMillisecondsMax: this.#settings.bodyIdleMillisecondsMax,
      onIdle: (error) => this.abort(error),
    });
    return this.#body;
  }

  get bytesIn(): number {
    return this.#body?.bytesRead ?? 0;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.endReason !== null) this.#controller.abort(this.endReason);
      else if (this.response.destroyed) this.#onClose();
      else this.response.once('close', this.#onClose);
    }
    return this.#controller.signal;
  }

  get clientGone(): boolean {
    return this.statusOnWire !== null || this.response.destroyed || this.response.socket?.destroyed === true;
  }

  get note(): Call['note'] {
    return this.#note;
  }

  /** Ends the exchange from outside: the drain is over, or the body stopped arriving. */
  abort(reason: Error): void {
    if (this.endReason !== null) return;
    this.endReason = reason;
    this.#controller?.abort(reason);
    this.#body?.fail(reason);
  }

  /** The connection is of no more use: what was to be said was said past the response. */
  cutOff(statusOnWire: number | null): void {
    this.statusOnWire = statusOnWire;
    this.abort(goneError());
  }

  readonly #note: Call['note'] = (fields) => {
    this.notes ??= {};
    for (const name in fields) {
      const value = fields[name];
      if (value === undefined || this.#noteCount >= NOTES_MAX) continue;
      if (!(name in this.notes)) this.#noteCount += 1;
      this.notes[name] = typeof value === 'string' ? value.slice(0, NOTE_LENGTH_MAX) : value;
    }
  };

  readonly #onClose = (): void => {
    if (!this.response.writableFinished) this.abort(goneError());
  };
}

function goneError(): Error {
  const error = new Error('the client went away');
  error.name = 'AbortError';
  return error;
}

const exchanges = new WeakMap<IncomingMessage, Exchange>();

/** Lets Fastify's handlers find the exchange of their raw message. */
export function rememberExchange(exchange: Exchange): void {
  exchanges.set(exchange.message, exchange);
}

export function exchangeOf(message: IncomingMessage): Exchange | null {
  return exchanges.get(message) ?? null;
}
