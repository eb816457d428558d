import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { type Digest, digestAlgorithm, digestOf } from '../../oci/digest.ts';
import type { TierEvent } from '../../telemetry/telemetry.ts';
import type { BlobLocation, BlobStore, Upkeep } from '../blob-store.ts';
import { drain } from '../contract-bytes.ts';
import { openMemoryBlobStore } from '../memory/memory-blob-store.ts';
import { openTieredBlobStore, type TieredBlobStore, type TieredOptions } from './tiered-blob-store.ts';

export interface Tiers {
  readonly store: TieredBlobStore;
  readonly cold: BlobStore;
  readonly hotRoot: string;
  readonly events: TierEvent[];
  readonly send: () => Promise<Readonly<Record<string, number>> | null>;
  readonly evict: () => Promise<Readonly<Record<string, number>> | null>;
  readonly count: (event: TierEvent) => number;
  /** Another store on the same hot directory and cold tier, as another process has one. */
  readonly again: (other?: Partial<TieredOptions>) => Promise<Tiers>;
  readonly dispose: () => Promise<void>;
}

const MIB = 1024 * 1024;

/** A tiered store on a new directory. The cold tier is in memory unless another one is given, and stays open. */
export async function openTiers(given: Partial<TieredOptions> = {}): Promise<Tiers> {
  const hotRoot = given.hotRoot ?? (await mkdtemp(join(tmpdir(), 'drift-tiered-')));
  const cold = given.cold ?? (await openMemoryBlobStore({ bytesMax: 256 * MIB }));
  const events: TierEvent[] = [];
  const store = await openTieredBlobStore({
    mode: 'write-through',
    hotBytesMax: 64 * MIB,
    hotAgeSecondsMax: 3600,
    backlogBytesMax: 64 * MIB,
    sendsMax: 2,
    reserveBytes: 0,
    log: null,
    metrics: { tier: (event) => events.push(event), tierBacklog: () => {}, tierCopies: () => {} },
    ...given,
    hotRoot,
    cold: outliving(cold),
  });
  const { signal } = new AbortController();
  return {
    store,
    cold,
    hotRoot,
    events,
    send: () => upkeepOf(store, 'send-backlog').run(signal),
    evict: () => upkeepOf(store, 'evict-copies').run(signal),
    count: (event) => events.filter((each) => each === event).length,
    again: (other = {}) => openTiers({ ...given, ...other, hotRoot, cold }),
    async dispose() {
      await store.close();
      await rm(hotRoot, { recursive: true, force: true });
    },
  };
}

function upkeepOf(store: BlobStore, name: string): Upkeep {
  const found = store.upkeep.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no upkeep ${name}`);
  return found;
}

/** The same store, whose end somebody else decides. */
function outliving(store: BlobStore): BlobStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'close') return async () => {};
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Reads as the rules do, who know the digest. Of a blob that was torn on purpose it is not told: no copy may be made of it. */
export function knowingDigests(store: BlobStore): BlobStore {
  const digests = new Map<BlobLocation, Digest>();
  const commit: BlobStore['commit'] = async (uploadId, digest, sizeBytes) => {
    const stored = await store.commit(uploadId, digest, sizeBytes);
    if (stored === null) return null;
    const body = await store.open(stored.location, null, new AbortController().signal);
    const bytes = body === null ? Buffer.alloc(0) : await drain(body);
    const isWhole = digestOf(digestAlgorithm(digest), bytes) === digest;
    if (isWhole) digests.set(stored.location, digest);
    else digests.delete(stored.location);
    return stored;
  };
  const open: BlobStore['open'] = (location, range, signal) =>
    store.open(location, range, signal, digests.get(location));
  return new Proxy(store, {
    get(target, name) {
      if (name === 'commit') return commit;
      if (name === 'open') return open;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Files below the hot directory that are neither a copy, nor waiting, nor staged by `listStaged`. */
export async function strayFiles(hotRoot: string): Promise<string[]> {
  const entries = await readdir(hotRoot, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(hotRoot, join(entry.parentPath, entry.name)));
  return names.filter((name) => !/^(copies|backlog)\/blobs\//.test(name) && name !== 'backlog/changed');
}
