import { dirname } from 'node:path';
import { ByteCache } from '../../std/byte-cache.ts';
import { type Clock, systemClock } from '../../std/clock.ts';
import { Unavailable } from '../../std/unavailable.ts';
import type { Metrics } from '../../telemetry/telemetry.ts';
import { LedgerCorrupt, LedgerError, LedgerNotWritable } from '../errors.ts';
import type { MetaReads, MetaStore, MetaTransaction, TransactionOptions } from '../meta-store.ts';
import type { Surroundings } from '../queries/surroundings.ts';
import { runEffect } from '../run-effect.ts';
import { backUp, makePrivateFile, syncFile } from './backup.ts';
import { type Connection, openReader, openWriter } from './connection.ts';
import { type Around, kyselyOver } from './dialect.ts';
import { hotReadGroups } from './hot-reads.ts';
import { migrate, requireVersion } from './migrate.ts';
import { fromSqlite, isCorrupt } from './sqlite-errors.ts';
import { sqliteSurroundings } from './surroundings.ts';
import { UnchangedMemory } from './unchanged-memory.ts';
import { WalIndex } from './wal-index.ts';
import { type SyncStats, WalSync } from './wal-sync.ts';
import { Writer } from './writer.ts';

const DRIVER = 'sqlite';
/** Bytes of the memory for manifests when nobody says. */
const manifestCacheBytesDefault = 8 * 1024 * 1024;
/** Bytes of the longest manifest that is kept in memory. */
const manifestCachedBytesMax = 256 * 1024;

export interface SqliteMetaStoreOptions {
  readonly file: string;
  /** `migrate`: makes and migrates the schema; `serve`: reads and writes one that is ours; `read`: never writes. */
  readonly mode: 'migrate' | 'serve' | 'read';
  /**
   * Pages in the log after which a commit moves them into the database, which blocks the event loop with syncs. Zero (the
   * default) in processes that serve: there the jobs process calls `checkpoint`.
   */
  readonly autoCheckpointPages?: number;
  /** The database's pages may not become more (4 KiB each); absent: as the device has room. */
  readonly pagesMax?: number;
  readonly metrics?: Pick<Metrics, 'metaOperation'> | null;
  /** Memory for the bytes of manifests. */
  readonly manifestCacheBytesMax?: number;
  /** What leases end by; the machine's when absent. */
  readonly clock?: Clock;
}

export interface SqliteMetaStore extends MetaStore {
  /** Durable commits of this process and the syncs that they shared. */
  stats(): SyncStats;
}

export async function openSqliteMetaStore(options: SqliteMetaStoreOptions): Promise<SqliteMetaStore> {
  const opened: { close(): unknown }[] = [];
  try {
    const writer = options.mode === 'read' ? null : await prepareWriter(options);
    if (writer !== null) opened.push(writer);
    const reader = openReader(options.file);
    opened.push(reader);
    requireVersion(reader, options.file);
    const sync = writer === null ? null : await openSync(options);
    if (sync !== null) opened.push(sync);
    return new Store({ options, reader, writer, sync });
  } catch (error) {
    for (const part of opened.reverse()) await part.close();
    throw whyNotOpen(options.file, error);
  }
}

async function prepareWriter(options: SqliteMetaStoreOptions): Promise<Writer> {
  if (options.mode === 'migrate') await makePrivateFile(options.file);
  const connection = openWriter(options.file, { autoCheckpointPages: 0, ...options });
  const writer = new Writer(connection, surroundingsOf(options));
  try {
    if (options.mode === 'migrate') {
      await writer.alone('pragma journal_mode = wal');
      await writer.exclusively(async () => migrate(connection, options.file, Date.now()));
    }
    // The first read keeps the log in being (a shared lock) for as long as this connection lives; see WalSync.
    requireVersion(connection, options.file);
  } catch (error) {
    connection.close();
    throw error;
  }
  return writer;
}

function surroundingsOf({ clock }: SqliteMetaStoreOptions): Surroundings {
  return sqliteSurroundings(clock ?? systemClock);
}

async function openSync(options: SqliteMetaStoreOptions): Promise<WalSync> {
  const sync = await WalSync.open(`${options.file}-wal`, (seconds, outcome) =>
    options.metrics?.metaOperation(DRIVER, 'sync', outcome, seconds),
  );
  // The names of a new database and its log must survive, too.
  await syncFile(dirname(options.file));
  return sync;
}

function whyNotOpen(file: string, error: unknown): unknown {
  if (error instanceof LedgerError) return error;
  const cause = error instanceof Unavailable ? error.cause : error;
  if (isCorrupt(cause)) {
    return new LedgerCorrupt(
      file,
      `The ledger ${file} is damaged or not a database: restore a backup.`,
      error,
    );
  }
  if (cause instanceof Error && 'code' in cause) {
    return new LedgerNotWritable(
      file,
      `The ledger ${file} cannot be opened or written: ${cause.message}.`,
      error,
    );
  }
  return error;
}

interface Parts {
  readonly options: SqliteMetaStoreOptions;
  readonly reader: Connection;
  readonly writer: Writer | null;
  readonly sync: WalSync | null;
}

interface Writable {
  readonly writer: Writer;
  readonly sync: WalSync;
}

class Store implements SqliteMetaStore {
  readonly driver = DRIVER;
  readonly read: MetaReads;
  readonly now = null;
  /** Whoever migrates holds the lock of the directory. */
  readonly requireSchema = null;
  readonly notices = { subscribe: () => () => {} };
  readonly #parts: Parts;
  readonly #walIndex: WalIndex;
  #closed = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#walIndex = WalIndex.of(parts.options.file);
    const timed: Around = (run) => this.#timedRead(run);
    const bytesMax = parts.options.manifestCacheBytesMax ?? manifestCacheBytesDefault;
    this.read = hotReadGroups(kyselyOver(parts.reader, timed), {
      connection: parts.reader,
      around: timed,
      manifestBytes: new ByteCache({ bytesMax, entryBytesMax: manifestCachedBytesMax }),
      memory: new UnchangedMemory(this.#walIndex),
      now: surroundingsOf(parts.options).now,
    });
  }

  readonly backup = async (path: string): Promise<void> => {
    await backUp(this.#parts.options.file, path);
  };

  /** A reader that still needs the log makes `truncate` do what it can: that is no error. */
  readonly checkpoint = async (mode: 'passive' | 'truncate'): Promise<void> => {
    const { writer, sync } = await this.#writable();
    // SQLite's own sync of the log hears of a failure once, and believes the next: ours asks first.
    await sync.wait();
    try {
      await writer.alone(`pragma wal_checkpoint(${mode})`);
    } catch (error) {
      if (!(error instanceof Unavailable && error.retryable)) sync.doubt(error);
      throw error;
    }
  };

  async transaction<T>(
    work: (tx: MetaTransaction) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    const writable = this.#writable();
    const { writer, sync } = writable instanceof Promise ? await writable : writable;
    const start = performance.now();
    try {
      const { value, effects } = await writer.transaction(work);
      // Even one that wrote nothing may answer from a commit that is not durable yet.
      if (options.durable ?? true) await sync.wait();
      this.#measure('transaction', 'ok', start);
      for (const effect of effects) runEffect(effect);
      return value;
    } catch (error) {
      this.#measure('transaction', error instanceof Unavailable ? 'error' : 'ok', start);
      throw error;
    }
  }

  /** Reads the whole database and blocks meanwhile: for `fsck` and tests, not for a process that serves. */
  async integrity(): Promise<readonly string[]> {
    try {
      const { rows } = this.#parts.reader.execute('pragma quick_check', []);
      return rows.map((row) => String(row['quick_check'])).filter((sentence) => sentence !== 'ok');
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  }

  async probe(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.read.access.setting('probe');
    await (await this.#writable()).writer.probe();
  }

  stats(): SyncStats {
    return this.#parts.sync?.stats ?? { waits: 0, syncs: 0 };
  }

  /** The reader first: whoever closes last tidies the log, which a reader may not. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const { reader, writer, sync } = this.#parts;
    this.#walIndex.close();
    reader.close();
    await writer?.close();
    await sync?.close();
  }

  /** A promise only where the log has to be mended first. */
  #writable(): Writable | Promise<Writable> {
    const { writer, sync } = this.#parts;
    if (this.#closed || writer === null || sync === null) {
      throw new Unavailable(
        'meta store',
        this.#closed ? 'the ledger is closed' : 'the ledger was opened to read',
        {
          retryable: false,
        },
      );
    }
    if (sync.failure !== null) return this.#mended({ writer, sync });
    return { writer, sync };
  }

  async #mended({ writer, sync }: Writable): Promise<Writable> {
    await writer.exclusively(() => sync.mend(() => this.#walIndex.committed()));
    return { writer, sync };
  }

  #timedRead<T>(run: () => T): T {
    const start = performance.now();
    try {
      const value = run();
      this.#measure('read', 'ok', start);
      return value;
    } catch (error) {
      this.#measure('read', 'error', start);
      throw this.#closed
        ? new Unavailable('meta store', 'the ledger is closed', { retryable: false })
        : fromSqlite(error);
    }
  }

  #measure(operation: 'read' | 'transaction', outcome: 'ok' | 'error', start: number): void {
    this.#parts.options.metrics?.metaOperation(
      DRIVER,
      operation,
      outcome,
      (performance.now() - start) / 1000,
    );
  }
}
