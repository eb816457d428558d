import { Socket } from 'node:net';
import pg from 'pg';
import { Unavailable } from '../../std/unavailable.ts';
import type { Logger } from '../../telemetry/telemetry.ts';
import { cutAfterGoodbye } from './goodbye.ts';
import { Outage } from './outage.ts';
import { fromPostgres, isConnectionLost, isNoneFree } from './postgres-errors.ts';

/** A connection that nobody needs is closed after this long, in milliseconds. */
const idleMillisMax = 60_000;

/** Type identifiers of PostgreSQL whose text pg would leave alone. */
const INT8 = 20;
const NUMERIC = 1700;

export interface PoolOptions {
  /** `postgres://user:password@host:port/database?sslmode=…`. */
  readonly url: string;
  readonly connectionsMax: number;
  /** Who may wait for a connection; more are told at once that the database is busy. */
  readonly waitingMax: number;
  readonly connectMillisMax: number;
  readonly queryMillisMax: number;
  /** Long work on one connection, which nothing may cut short that is slow. Default: false. */
  readonly patient?: boolean;
  /** Hears when the database, or news of other processes, goes away and is back. */
  readonly log?: Pick<Logger, 'warn' | 'info'> | null;
}

export interface Answer {
  readonly rows: Record<string, unknown>[];
  readonly changes: number;
  /** What was done, as the database calls it: `SELECT`, `COMMIT`. */
  readonly command: string;
}

/** One connection, ours alone until it is released. */
export interface Held {
  /** Throws what pg throws. */
  run(sql: string, parameters: readonly unknown[]): Promise<Answer>;
  /** `broken`: it is not used again. */
  release(broken: boolean): void;
}

/**
 * Connections to one database. Nothing here depends on the session: no prepared statements with names, no settings that
 * outlive a transaction, so that a pooler may stand between which gives each transaction another connection.
 */
export class Pool {
  readonly #pool: pg.Pool;
  readonly #options: PoolOptions;
  readonly #outage: Outage;
  readonly #sockets = new Set<Socket>();

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#outage = new Outage({
      ask: () => this.#ask(),
      onAway: () => this.#cutAll(),
      log: options.log ?? null,
    });
    this.#pool = new pg.Pool({
      connectionString: options.url,
      max: options.connectionsMax,
      connectionTimeoutMillis: options.connectMillisMax,
      query_timeout: options.queryMillisMax,
      idleTimeoutMillis: idleMillisMax,
      keepAlive: true,
      stream: () => this.#openSocket(),
      application_name: 'drift',
      types: { getTypeParser },
    });
    // A connection that breaks is replaced when it is needed, and its statement fails; without listeners for what the
    // database says beside that, an idle one or one in a transaction would end the process.
    this.#pool.on('error', () => {});
    this.#pool.on('connect', (client) => client.on('error', () => {}));
  }

  /** One statement that only reads: when its connection breaks it is asked once more, on another. Throws `Unavailable`. */
  async read(sql: string, parameters: readonly unknown[]): Promise<Answer> {
    try {
      return await this.#once(sql, parameters);
    } catch (error) {
      if (!isConnectionLost(error) || this.#outage.error !== null) throw fromPostgres(error);
    }
    try {
      return await this.#once(sql, parameters);
    } catch (error) {
      throw fromPostgres(error);
    }
  }

  /** Throws `Unavailable` when there is none to be had. */
  async hold(): Promise<Held> {
    const client = await this.#connect();
    return {
      run: async (sql, parameters) => {
        const statement = client.query(sql, parameters as unknown[]);
        return toAnswer(await (this.#options.patient ? statement : this.#outage.watch(statement)));
      },
      release: (broken) => client.release(broken),
    };
  }

  async close(): Promise<void> {
    await this.#pool.end();
    this.#outage.close();
    for (const socket of this.#sockets) cutAfterGoodbye(socket);
  }

  async #once(sql: string, parameters: readonly unknown[]): Promise<Answer> {
    const held = await this.hold();
    let broken = true;
    try {
      const answer = await held.run(sql, parameters);
      broken = false;
      return answer;
    } catch (error) {
      broken = isConnectionLost(error);
      throw error;
    } finally {
      held.release(broken);
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    if (this.#outage.error !== null) throw fromPostgres(this.#outage.error);
    if (this.#pool.waitingCount >= this.#options.waitingMax) {
      throw new Unavailable('meta store', 'too many requests wait for the database', { retryable: true });
    }
    const since = performance.now();
    try {
      return await this.#pool.connect();
    } catch (error) {
      // Who waited in vain for one to be free knows nothing of the database.
      if (!isNoneFree(error)) this.#outage.notice(error, since);
      throw fromPostgres(error);
    }
  }

  /** No statement: behind a pooler that would wait for others to be done. */
  async #ask(): Promise<void> {
    const socket = this.#openSocket();
    const client = new pg.Client({
      connectionString: this.#options.url,
      connectionTimeoutMillis: this.#options.connectMillisMax,
      stream: () => socket,
    });
    client.on('error', () => {});
    try {
      await client.connect();
    } finally {
      client.end().catch(() => {});
      cutAfterGoodbye(socket);
    }
  }

  #openSocket(): Socket {
    const socket = new Socket();
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }

  /** Whoever waits on one of them hears at once that it is gone. */
  #cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Whole numbers are numbers: sizes, times and counts of the ledger stay below 2^53. */
function getTypeParser(id: number, format?: 'text' | 'binary'): (text: string) => unknown {
  if (id === INT8 || id === NUMERIC) return Number;
  return pg.types.getTypeParser(id, format ?? 'text');
}

function toAnswer(result: pg.QueryResult): Answer {
  return { rows: result.rows ?? [], changes: result.rowCount ?? 0, command: result.command };
}
