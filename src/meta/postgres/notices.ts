import { randomBytes } from 'node:crypto';
import { Socket } from 'node:net';
import pg from 'pg';
import type { Logger } from '../../telemetry/telemetry.ts';
import type { Notice, Notices } from '../meta-store.ts';
import { cutAfterGoodbye } from './goodbye.ts';

export const CHANNEL = 'drift';

/** How long a notice to ourselves may take, in milliseconds: later the connection is held for dead, or for a pooler's. */
const echoMillisMax = 5_000;
/** A connection that stands is asked again so often, in milliseconds: one that a network swallowed looks just the same. */
const checkEveryMillis = 15_000;
const backoffMillisMin = 250;
/** In the end a look each minute: polling does the work meanwhile. */
const backoffMillisMax = 60_000;

type Echo = { readonly kind: 'echo'; readonly of: string };

export interface NoticeListenerOptions {
  /** Of the database itself: behind a pooler that gives each transaction another connection nothing arrives. */
  readonly url: string;
  readonly connectMillisMax: number;
  readonly queryMillisMax: number;
  /** Runs a statement over the connections that publish. */
  readonly send: (sql: string, parameters: readonly unknown[]) => Promise<void>;
  readonly log: Pick<Logger, 'warn' | 'info'> | null;
}

export function writeNotice(notice: Notice | Echo): string {
  return JSON.stringify(notice);
}

/**
 * Listens on a connection of its own for as long as somebody has subscribed. It is no part of the ledger's health: without
 * it everything goes on by polling, a little later. What arrives is believed only after an echo came back: LISTEN behind a
 * pooler in transaction mode succeeds, and then nothing ever comes.
 */
export class NoticeListener implements Notices {
  readonly #options: NoticeListenerOptions;
  readonly #handlers = new Set<(notice: Notice) => void>();
  readonly #self = randomBytes(9).toString('base64url');
  #connection: ListeningConnection | null = null;
  #timer: NodeJS.Timeout | null = null;
  #failures = 0;
  #isClosed = false;
  #isBegun = false;

  constructor(options: NoticeListenerOptions) {
    this.#options = options;
  }

  subscribe(handler: (notice: Notice) => void): () => void {
    this.#handlers.add(handler);
    if (!this.#isBegun) {
      this.#isBegun = true;
      void this.#connect();
    }
    return () => this.#handlers.delete(handler);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#connection?.close();
  }

  async #connect(): Promise<void> {
    const connection = new ListeningConnection(this.#options, this.#self, (notice) => this.#deliver(notice));
    this.#connection = connection;
    try {
      await connection.open();
      if (this.#failures > 0) this.#options.log?.info('notices of other processes arrive again');
      this.#failures = 0;
      void connection.broken.catch((error: unknown) => this.#lost(connection, error));
      this.#later(checkEveryMillis, () => this.#check(connection));
    } catch (error) {
      await this.#lost(connection, error);
    }
  }

  async #check(connection: ListeningConnection): Promise<void> {
    try {
      await connection.echo();
      this.#later(checkEveryMillis, () => this.#check(connection));
    } catch (error) {
      await this.#lost(connection, error);
    }
  }

  async #lost(connection: ListeningConnection, error: unknown): Promise<void> {
    if (this.#connection !== connection) return;
    this.#connection = null;
    void connection.close();
    if (this.#isClosed) return;
    if (this.#failures === 0) {
      const { log } = this.#options;
      log?.warn({ err: error }, 'no notices of other processes arrive: what waits for them polls');
    }
    this.#failures += 1;
    const backoff = Math.min(backoffMillisMin * 2 ** Math.min(this.#failures, 16), backoffMillisMax);
    this.#later(backoff * (0.5 + Math.random() / 2), () => this.#connect());
  }

  #later(millis: number, work: () => Promise<void>): void {
    if (this.#isClosed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void work(), millis);
    this.#timer.unref();
  }

  #deliver(notice: Notice): void {
    for (const handler of this.#handlers) handler(notice);
  }
}

/** One connection, from LISTEN to its end. */
class ListeningConnection {
  readonly #options: NoticeListenerOptions;
  readonly #self: string;
  readonly #client: pg.Client;
  readonly #socket = new Socket();
  readonly #broken = Promise.withResolvers<never>();
  /** Rejects when the connection has ended, however that came. */
  readonly broken = this.#broken.promise;
  #echoed: (() => void) | null = null;

  constructor(options: NoticeListenerOptions, self: string, deliver: (notice: Notice) => void) {
    this.#options = options;
    this.#self = self;
    this.#client = new pg.Client({
      connectionString: options.url,
      connectionTimeoutMillis: options.connectMillisMax,
      query_timeout: options.queryMillisMax,
      keepAlive: true,
      stream: () => this.#socket,
    });
    this.broken.catch(() => {});
    this.#client.on('error', (error) => this.#broken.reject(error));
    this.#client.on('end', () => this.#broken.reject(new Error('the connection ended')));
    this.#client.on('notification', ({ payload }) => {
      const notice = readNotice(payload ?? '');
      if (notice === null) return;
      if (notice.kind !== 'echo') deliver(notice);
      else if (notice.of === this.#self) this.#echoed?.();
    });
  }

  async open(): Promise<void> {
    await this.#client.connect();
    await this.#client.query(`listen ${CHANNEL}`);
    await this.echo();
  }

  /** Sends one to ourselves, over another connection, and waits for it. */
  async echo(): Promise<void> {
    const { promise: echoed, resolve, reject } = Promise.withResolvers<void>();
    this.#echoed = resolve;
    const timer = setTimeout(
      () => reject(new Error('notices do not come back: is a pooler between?')),
      echoMillisMax,
    );
    timer.unref();
    try {
      const text = writeNotice({ kind: 'echo', of: this.#self });
      const sent = this.#options.send('select pg_notify($1, $2)', [CHANNEL, text]);
      sent.catch(reject);
      await Promise.race([echoed, this.broken]);
    } finally {
      clearTimeout(timer);
      this.#echoed = null;
    }
  }

  async close(): Promise<void> {
    cutAfterGoodbye(this.#socket);
    await Promise.race([this.#client.end().catch(() => {}), this.broken.catch(() => {})]);
  }
}

/** Null for what another program, or a later version of this one, sends. */
function readNotice(text: string): Notice | Echo | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && 'kind' in value ? (value as Notice | Echo) : null;
  } catch {
    return null;
  }
}
