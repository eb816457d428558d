import pg from 'pg';
import { Unavailable } from '../../std/unavailable.ts';
import { fromPostgres, isConnectionLost, isTooLate } from './postgres-errors.ts';

/**
 * After a connection could not be made, everybody hears so at once for this long, in milliseconds, and then one tries while
 * the others still do: nobody queues for the dead.
 */
const failFastMillis = 500;
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
  #failure: { readonly error: unknown; readonly until: number } | null = null;
  /** Somebody is finding out whether the database is back, or whether it is away. */
  #isTrying = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#pool = new pg.Pool({
      connectionString: options.url,
      max: options.connectionsMax,
      connectionTimeoutMillis: options.connectMillisMax,
      query_timeout: options.queryMillisMax,
      idleTimeoutMillis: idleMillisMax,
      keepAlive: true,
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
      if (!isConnectionLost(error) || this.#failure !== null) throw fromPostgres(error);
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
      run: async (sql, parameters) => toAnswer(await client.query(sql, parameters as unknown[])),
      release: (broken) => client.release(broken),
    };
  }

  async close(): Promise<void> {
    await this.#pool.end();
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
      if (isTooLate(error)) void this.#lookWhetherAway();
      throw error;
    } finally {
      held.release(broken);
    }
  }

  /** One slow answer is no reason to refuse others, a database that does not answer anybody is. */
  async #lookWhetherAway(): Promise<void> {
    if (this.#isTrying || this.#failure !== null) return;
    this.#isTrying = true;
    const { url, connectMillisMax } = this.#options;
    const client = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: connectMillisMax,
      query_timeout: connectMillisMax,
    });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query('select 1');
    } catch (error) {
      this.#failure = { error, until: performance.now() + failFastMillis };
    } finally {
      this.#isTrying = false;
      await client.end().catch(() => {});
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    if (this.#failure === null) return this.#connectNow();
    if (this.#isTrying || performance.now() < this.#failure.until) throw fromPostgres(this.#failure.error);
    this.#isTrying = true;
    try {
      return await this.#connectNow();
    } finally {
      this.#isTrying = false;
    }
  }

  async #connectNow(): Promise<pg.PoolClient> {
    if (this.#pool.waitingCount >= this.#options.waitingMax) {
      throw new Unavailable('meta store', 'too many requests wait for the database', { retryable: true });
    }
    try {
      const client = await this.#pool.connect();
      this.#failure = null;
      return client;
    } catch (error) {
      // Others may only be slow in giving theirs back.
      if (isTooLate(error)) void this.#lookWhetherAway();
      else this.#failure = { error, until: performance.now() + failFastMillis };
      throw fromPostgres(error);
    }
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
