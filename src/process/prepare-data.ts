import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { BlobStore } from '../blobs/blob-store.ts';
import { openBlobStore } from '../blobs/open-blob-store.ts';
import type { Config } from '../config/config.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { openMetaStore } from '../meta/open-meta-store.ts';
import type { Metrics } from '../telemetry/telemetry.ts';
import { lockDirectory } from './lock-directory.ts';

/** A glance, however many there are. */
const blobsLookedAtMax = 100;

/** The data of this run, ours alone, migrated and writable. */
export interface PreparedData {
  /** With the memory backend: the ledger's place is in a directory that goes with the run. */
  readonly config: Config;
  readonly meta: MetaStore;
  /** Sentences for the log. */
  readonly warnings: readonly string[];
  close(): Promise<void>;
}

/** Throws what `startupFailure` understands. */
export async function prepareData(asked: Config, metrics: Metrics): Promise<PreparedData> {
  const undo: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const config = asked.storage.backend === 'memory' ? await inTemporaryDirectory(asked, undo) : asked;
    for (const directory of ownDirectories(config)) {
      const lock = await lockDirectory(directory);
      undo.push(() => lock.release());
    }
    const blobs = await openBlobStore({ metrics }, config);
    undo.push(() => blobs.close());
    await blobs.probe(new AbortController().signal);
    const meta = await openMetaStore(config, { mode: 'migrate', metrics });
    undo.push(() => meta.close());
    const warnings = await findStrangers(meta, blobs);
    return { config, meta, warnings, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The backend was changed and the blobs were left where they are: somebody should hear of it before the first pull does. */
async function findStrangers(meta: MetaStore, blobs: BlobStore): Promise<readonly string[]> {
  const rows = await meta.read.blobs.scan(null, blobsLookedAtMax);
  const strangers = rows.filter(({ state, location }) => state === 'present' && !blobs.owns(location)).length;
  if (strangers === 0) return [];
  return [
    `${strangers} of the first ${rows.length} blobs are in a store that is not configured, and are answered 503: set storage.migrate_from and run "drift storage migrate"`,
  ];
}

async function inTemporaryDirectory(config: Config, undo: (() => Promise<unknown>)[]): Promise<Config> {
  const root = await mkdtemp(join(tmpdir(), 'drift-memory-'));
  undo.push(() => rm(root, { recursive: true, force: true }));
  const isFile = config.database.backend === 'sqlite';
  const database = isFile ? { backend: 'sqlite' as const, file: join(root, 'drift.db') } : config.database;
  return { ...config, database, storage: { ...config.storage, root } };
}

/** Directories that no other Drift may serve at the same time. */
function ownDirectories({ storage, database }: Config): ReadonlySet<string> {
  const kept = [storage.backend, storage.tiered?.cold, storage.migrateFrom];
  return new Set([
    ...(kept.includes('fs') ? [storage.root] : []),
    ...(storage.tiered === null ? [] : [storage.tiered.hotRoot]),
    ...(database.backend === 'sqlite' ? [dirname(database.file)] : []),
  ]);
}
