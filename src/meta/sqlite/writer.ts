import { setTimeout as sleep } from 'node:timers/promises';
import { Unavailable } from '../../std/unavailable.ts';
import type { MetaTransaction } from '../meta-store.ts';
import { writeGroups } from '../queries/groups.ts';
import type { Surroundings } from '../queries/surroundings.ts';
import type { Connection } from './connection.ts';
import { type Around, kyselyOver } from './dialect.ts';
import { fromSqlite, isBusy } from './sqlite-errors.ts';
import { WriterQueue } from './writer-queue.ts';

/** How long a transaction waits for other processes' transactions before it gives up. */
const lockWaitMillisecondsMax = 10_000;
/** Most transactions last a fraction of a millisecond: so many turns of the event loop are tried before anything sleeps. */
const lockTurnsMax = 20;
const lockPauseMillisecondsMax = 8;

export interface Committed<T> {
  readonly value: T;
  readonly effects: readonly (() => void)[];
}

/**
 * The one writer connection of this process. A transaction holds the database's write lock from its beginning
 * (`begin immediate`), so it never fails half way for a lock. Between its statements only microtasks run as long as its
 * work does nothing but ledger calls; work that waited for anything else would hold up every writer of the machine.
 */
export class Writer {
  readonly connection: Connection;
  readonly #queue = new WriterQueue();
  readonly #groups: Omit<MetaTransaction, 'afterCommit'>;

  constructor(connection: Connection, surroundings: Surroundings) {
    this.connection = connection;
    const insideOnly: Around = (run) => {
      if (!connection.inTransaction) throw new Error('a ledger call came after its transaction had ended');
      return run();
    };
    this.#groups = writeGroups(kyselyOver(connection, insideOnly), surroundings);
  }

  transaction<T>(work: (tx: MetaTransaction) => Promise<T>): Promise<Committed<T>> {
    const effects: (() => void)[] = [];
    const tx: MetaTransaction = { ...this.#groups, afterCommit: (effect) => void effects.push(effect) };
    return this.exclusively(async () => ({ value: await work(tx), effects }));
  }

  /** Runs `work` in a transaction of the bare connection. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue.run(async () => {
      await this.#begin('begin immediate');
      try {
        const value = await work();
        this.connection.database.exec('commit');
        return value;
      } catch (error) {
        this.#rollBack();
        throw fromSqlite(error);
      }
    });
  }

  /** Runs one statement that needs the write lock and may find it taken. */
  alone(sql: string): Promise<void> {
    return this.#queue.run(() => this.#begin(sql));
  }

  /** Proves that a transaction can begin, and leaves nothing. */
  async probe(): Promise<void> {
    await this.#queue.run(async () => {
      await this.#begin('begin immediate');
      this.#rollBack();
    });
  }

  /** Waits for the transactions before it; none may follow. */
  async close(): Promise<void> {
    await this.#queue.run(async () => this.connection.close());
  }

  async #begin(sql: string): Promise<void> {
    const deadline = performance.now() + lockWaitMillisecondsMax;
    for (let attempt = 0; ; attempt += 1) {
      try {
        this.connection.database.exec(sql);
        return;
      } catch (error) {
        if (!isBusy(error)) throw fromSqlite(error);
        if (performance.now() > deadline) {
          const message = 'another process holds the ledger for too long';
          throw new Unavailable('meta store', message, { retryable: true, cause: error });
        }
      }
      if (attempt < lockTurnsMax) await new Promise(setImmediate);
      // Jitter, so that waiting processes do not knock in step.
      else await sleep(Math.random() * lockPauseMillisecondsMax);
    }
  }

  /** SQLite may have rolled back by itself (a full disk, an I/O error). */
  #rollBack(): void {
    try {
      if (this.connection.inTransaction) this.connection.database.exec('rollback');
    } catch (error) {
      process.emitWarning(`a rollback of the ledger failed: ${String(error)}`);
    }
  }
}
