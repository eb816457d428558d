import { setTimeout as sleep } from 'node:timers/promises';
import { Unavailable } from '../../std/unavailable.ts';
import type { Metrics } from '../../telemetry/telemetry.ts';
import type { MetaReads, MetaStore, MetaTransaction, TransactionOptions } from '../meta-store.ts';
import { runEffect } from '../run-effect.ts';
import { kyselyOver } from './dialect.ts';
import { postgresWrites } from './groups.ts';
import { hotReadGroups } from './hot-reads.ts';
import { migrate, requireVersion } from './migrate.ts';
import { NoticeListener } from './notices.ts';
import { type Answer, type Held, Pool, type PoolOptions } from './pool.ts';
import { fromPostgres, isConnectionLost, isWorthAnotherRun } from './postgres-errors.ts';
import { Replicas, withLists } from './replicas.ts';
import { CLOCK_SQL } from './surroundings.ts';
import { withoutPassword } from './without-password.ts';

const DRIVER = 'postgres';
/** How often a transaction is run from its start before somebody else has to try. */
const runsMax = 20;
const runPauseMillisMax = 25;
/** How long a transaction waits for another one's lock. */
const lockMillisMax = 10_000;
/** A process that stands still in the middle of a transaction loses it after this long: others wait for its locks. */
const standstillMillisMax = 15_000;
/** How long a migration may take, its waiting for another node's included. */
const migrationMillisMax = 60 * 60 * 1000;

/** What is set to wait for more than our own disk (a standby) stays so; a server set to wait for nothing waits for us. */
const DURABLE =
  "select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off'";

export interface PostgresMetaStoreOptions extends PoolOptions {
  /** `migrate`: makes and migrates the schema; `serve`: reads and writes one that is ours; `read`: never writes. */
  readonly mode: 'migrate' | 'serve' | 'read';
  /** Streaming replicas of the same database, which answer lists. */
  readonly replicaUrls?: readonly string[];
  /** Parts of each of the large tables; fixed when the schema is made. */
  readonly partitions: number;
  readonly metrics?: Pick<Metrics, 'metaOperation'> | null;
  /** Where notices are listened for, should a pooler stand before `url`; the same when absent. */
  readonly listenUrl?: string | null;
}

export async function openPostgresMetaStore(options: PostgresMetaStoreOptions): Promise<MetaStore> {
  const place = withoutPassword(options.url);
  if (options.mode === 'migrate') await migrateAlone(options, place);
  const pool = new Pool(options);
  try {
    await requireVersion((sql, parameters) => pool.read(sql, parameters), place);
  } catch (error) {
    await pool.close();
    throw error;
  }
  return new Store(options, pool);
}

async function migrateAlone(options: PostgresMetaStoreOptions, place: string): Promise<void> {
  const pool = new Pool({
    ...options,
    connectionsMax: 1,
    queryMillisMax: migrationMillisMax,
    patient: true,
  });
  try {
    const held = await pool.hold();
    try {
      await migrate(held, { place, partitions: options.partitions, at: Date.now() });
    } finally {
      held.release(true);
    }
  } catch (error) {
    throw fromPostgres(error);
  } finally {
    await pool.close();
  }
}

interface Committed<T> {
  readonly value: T;
  readonly effects: readonly (() => void)[];
}

class Store implements MetaStore {
  readonly driver = DRIVER;
  readonly read: MetaReads;
  /** The database has its own ways: docs/backup.md. */
  readonly backup = null;
  readonly checkpoint = null;
  readonly notices: NoticeListener;
  readonly #options: PostgresMetaStoreOptions;
  readonly #pool: Pool;
  readonly #replicas: Replicas | null;
  #closed = false;

  constructor(options: PostgresMetaStoreOptions, pool: Pool) {
    this.#options = options;
    this.#pool = pool;
    const run = (sql: string, parameters: readonly unknown[]) => this.#timedRead(sql, parameters);
    const reads = hotReadGroups(kyselyOver(run), run);
    const { replicaUrls = [] } = options;
    this.#replicas = replicaUrls.length === 0 ? null : new Replicas(run, replicaUrls, options);
    this.read =
      this.#replicas === null
        ? reads
        : withLists(reads, hotReadGroups(kyselyOver(this.#replicas.run), this.#replicas.run));
    this.notices = new NoticeListener({
      url: options.listenUrl ?? options.url,
      connectMillisMax: options.connectMillisMax,
      queryMillisMax: options.queryMillisMax,
      send: async (sql, parameters) => void (await pool.read(sql, parameters)),
      log: options.log ?? null,
    });
  }

  readonly now = async (): Promise<number> => {
    const { rows } = await this.#timedRead(`select ${CLOCK_SQL} as now`, []);
    return Number(rows[0]?.['now']);
  };

  readonly requireSchema = (): Promise<void> =>
    requireVersion((sql, parameters) => this.#timedRead(sql, parameters), withoutPassword(this.#options.url));

  async transaction<T>(
    work: (tx: MetaTransaction) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    if (this.#options.mode === 'read') throw this.#refusal('the ledger was opened to read');
    const start = performance.now();
    try {
      const { value, effects } = await this.#runUntilCommitted(work, options);
      this.#measure('transaction', 'ok', start);
      for (const effect of effects) runEffect(effect);
      return value;
    } catch (error) {
      this.#measure('transaction', error instanceof Unavailable ? 'error' : 'ok', start);
      throw error;
    }
  }

  /** What the database itself says of its indexes; its files are checked by its own tools. */
  async integrity(): Promise<readonly string[]> {
    const { rows } = await this.#pool.read(
      'select indexrelid::regclass::text as name from pg_index where not indisvalid',
      [],
    );
    return rows.map((row) => `the index ${String(row['name'])} is not valid: reindex it`);
  }

  async probe(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { rows } = await this.#timedRead('select pg_is_in_recovery() as standby', []);
    if (rows[0]?.['standby'] !== true) return;
    throw new Unavailable('meta store', 'the database is a standby', { retryable: true });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.notices.close();
    await this.#replicas?.close();
    await this.#pool.close();
  }

  async #runUntilCommitted<T>(
    work: (tx: MetaTransaction) => Promise<T>,
    options: TransactionOptions,
  ): Promise<Committed<T>> {
    for (let run = 1; ; run += 1) {
      if (this.#closed) throw this.#refusal('the ledger is closed');
      const held = await this.#pool.hold();
      const transaction = new Transaction(held);
      try {
        return await transaction.run(work, beginText(options, this.#options.queryMillisMax));
      } catch (error) {
        if (run === runsMax || !transaction.isUndone || !isWorthAnotherRun(error)) throw fromPostgres(error);
      } finally {
        held.release(transaction.isBroken);
      }
      await sleep(Math.random() * Math.min(run, 10) * runPauseMillisMax);
    }
  }

  async #timedRead(sql: string, parameters: readonly unknown[]): Promise<Answer> {
    if (this.#closed) throw this.#refusal('the ledger is closed');
    const start = performance.now();
    try {
      const answer = await this.#pool.read(sql, parameters);
      this.#measure('read', 'ok', start);
      return answer;
    } catch (error) {
      this.#measure('read', 'error', start);
      throw error;
    }
  }

  #refusal(message: string): Unavailable {
    return new Unavailable('meta store', message, { retryable: false });
  }

  #measure(operation: 'read' | 'transaction', outcome: 'ok' | 'error', start: number): void {
    const seconds = (performance.now() - start) / 1000;
    this.#options.metrics?.metaOperation(DRIVER, operation, outcome, seconds);
  }
}

/** One run of a transaction's work on a connection. */
class Transaction {
  readonly #held: Held;
  #ended = false;
  /** The connection is not to be used again. */
  isBroken = false;
  /** Nothing came of it, for certain: a commit whose answer was lost may have happened. */
  isUndone = true;

  constructor(held: Held) {
    this.#held = held;
  }

  async run<T>(work: (tx: MetaTransaction) => Promise<T>, begin: string): Promise<Committed<T>> {
    const effects: (() => void)[] = [];
    const groups = postgresWrites(kyselyOver((sql, parameters) => this.#statement(sql, parameters)));
    try {
      await this.#held.run(begin, []);
      const value = await work({ ...groups, afterCommit: (effect) => void effects.push(effect) });
      this.#ended = true;
      await this.#commit();
      return { value, effects };
    } catch (error) {
      this.#ended = true;
      if (isConnectionLost(error)) this.isBroken = true;
      else await this.#rollBack();
      throw error;
    }
  }

  async #statement(sql: string, parameters: readonly unknown[]): Promise<Answer> {
    if (this.#ended) throw new Error('a ledger call came after its transaction had ended');
    return this.#held.run(sql, parameters);
  }

  async #commit(): Promise<void> {
    this.isUndone = false;
    try {
      const { command } = await this.#held.run('commit', []);
      // What had failed before, and was passed over, makes of a commit a rollback.
      if (command !== 'COMMIT')
        throw new Error('a statement of the transaction had failed: it was rolled back');
    } catch (error) {
      this.isUndone = !isConnectionLost(error);
      throw error;
    }
  }

  async #rollBack(): Promise<void> {
    try {
      await this.#held.run('rollback', []);
    } catch {
      this.isBroken = true;
    }
  }
}

/** One round trip. What it sets ends with the transaction. */
function beginText(
  { durable = true, concurrent = false }: TransactionOptions,
  statementMillisMax: number,
): string {
  const isolation = concurrent ? 'read committed' : 'serializable';
  return [
    `begin isolation level ${isolation}`,
    `set local lock_timeout = ${lockMillisMax}`,
    `set local statement_timeout = ${statementMillisMax}`,
    `set local idle_in_transaction_session_timeout = ${standstillMillisMax}`,
    durable ? DURABLE : 'set local synchronous_commit = off',
  ].join('; ');
}
