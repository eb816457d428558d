import { randomBytes } from 'node:crypto';
import type { BlobBody, BlobLocation, BlobStore, Page, UploadId } from '../blobs/blob-store.ts';
import { DamagedBlob } from '../blobs/damaged-blob.ts';
import { ownPlace } from '../blobs/own-place.ts';
import { newUploadId } from '../blobs/upload-id.ts';
import type { LeftBehind, MetaStore, StoredBlobRow } from '../meta/meta-store.ts';
import { type Digest, digestAlgorithm } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Clock } from '../std/clock.ts';
import { Unavailable } from '../std/unavailable.ts';
import { endUpload } from './ended-uploads.ts';
import type { Fence } from './fence.ts';
import { RunningDigest } from './running-digests.ts';

/** Rows read at a time. */
const pageMax = 500;
/** What a run that died was copying is withdrawn as uploads are that nobody goes on with: after so long. */
const copyMillisMax = 7 * 24 * 60 * 60 * 1000;
/** The row goes in the same transaction. */
const endingLeaseMillis = 1_000;
/** Old bytes that are removed at the same moment. */
const removalsAtOnceMax = 32;
/** Whose uploads the copies are. No client can name them: a space stands in no repository and in no user name. */
const copier = 'storage migrate';

export interface MoveDeps {
  readonly meta: MetaStore;
  readonly source: BlobStore;
  readonly target: BlobStore;
  readonly clock: Clock;
  /** One run at a time. */
  readonly fence: Fence;
  /** So much of the target's device is left free. */
  readonly reserveBytes: number;
}

export interface MoveTotals {
  readonly blobs: number;
  readonly bytes: number;
  /** Claimed by a push that has not ended, or died: they come to rest by themselves. */
  readonly unsettled: number;
}

export interface Moved {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** `gone`: deleted, or moved by a push, meanwhile. `damaged`: its bytes are missing or are others; it stays where it is. */
  readonly outcome: 'moved' | 'gone' | 'damaged';
  readonly from: BlobLocation;
}

/** What there is to move. */
export async function countToMove(
  deps: Pick<MoveDeps, 'meta' | 'source'>,
  signal: AbortSignal,
): Promise<MoveTotals> {
  const totals = { blobs: 0, bytes: 0, unsettled: 0 };
  for await (const row of rowsIn(deps, signal)) {
    if (row.state !== 'present') {
      totals.unsettled += 1;
      continue;
    }
    totals.blobs += 1;
    totals.bytes += row.sizeBytes;
  }
  return totals;
}

/**
 * Copies every present blob of the source into the target, checks its digest on the way, and then changes its row, if it is
 * still as it was read: whoever pulls finds the bytes at one place or the other. May be stopped at any moment and begun
 * again; what is moved is moved.
 */
export async function moveBlobs(
  deps: MoveDeps,
  options: {
    readonly signal: AbortSignal;
    /** Blobs at a time. */
    readonly parallelMax: number;
    readonly onMoved: (moved: Moved) => void;
    readonly onBytes: (bytes: number) => void;
  },
): Promise<void> {
  const failing = new AbortController();
  const signal = AbortSignal.any([options.signal, failing.signal]);
  const rows = rowsIn(deps, signal);
  const lane = async (): Promise<void> => {
    for (let next = await rows.next(); next.done !== true; next = await rows.next()) {
      if (next.value.state !== 'present') continue;
      options.onMoved(await moveBlob(deps, next.value, { signal, onBytes: options.onBytes }));
    }
  };
  // The others end before the first failure is told: nothing goes on behind the caller's back.
  const lanes = Array.from({ length: options.parallelMax }, () =>
    lane().catch((error: unknown) => {
      failing.abort(error);
      throw error;
    }),
  );
  const failed = (await Promise.allSettled(lanes)).find((end) => end.status === 'rejected');
  options.signal.throwIfAborted();
  if (failed !== undefined) throw failed.reason as Error;
}

/**
 * Removes old bytes that were left behind before `before`, at most `limit`; resolves with how many, and the next one. What moved
 * back is kept; until the note of old bytes is gone no push puts others there (`commitBlob`).
 */
export async function removeLeftBehind(
  deps: Pick<MoveDeps, 'meta' | 'source' | 'target' | 'fence'>,
  request: { readonly before: number; readonly limit: number },
): Promise<{ readonly removed: number; readonly next: LeftBehind | null }> {
  const all = await deps.meta.read.blobs.leftBehind(request.limit);
  const old = all.filter(({ movedAt }) => movedAt <= request.before);
  for (let start = 0; start < old.length; start += removalsAtOnceMax)
    await removeOld(deps, old.slice(start, start + removalsAtOnceMax));
  return { removed: old.length, next: (await deps.meta.read.blobs.leftBehind(1))[0] ?? null };
}

async function removeOld(
  deps: Pick<MoveDeps, 'meta' | 'source' | 'target' | 'fence'>,
  some: readonly LeftBehind[],
): Promise<void> {
  // A run that another one has taken over from must not delete what that one is just moving back.
  const back = await deps.meta.transaction(
    async (tx) => {
      await deps.fence(tx);
      const rows = [];
      for (const { digest } of some) rows.push(await tx.blobs.find(digest));
      return new Set(rows.map((row) => row?.location));
    },
    { durable: false },
  );
  // All end before the first failure is told: nothing goes on when the turn is another run's.
  const ends = await Promise.allSettled(
    some.map(async ({ location }) => {
      // An earlier move, the other way round, may have left something behind in what is the target now.
      const store = [deps.source, deps.target].find((each) => each.owns(location));
      if (!back.has(location)) await store?.delete(location);
    }),
  );
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed !== undefined) throw failed.reason as Error;
  await deps.meta.transaction(
    async (tx) => {
      await deps.fence(tx);
      for (const { location } of some) await tx.blobs.forgetLeftBehind(location);
    },
    { durable: false },
  );
}

/**
 * Ends the uploads that had begun in the source before it was left: their clients begin again, and once the source is not
 * configured any more nobody would remove their bytes. Only what the ledger knows of: other bytes may be another
 * registry's. One that somebody holds at this moment stays. Resolves with how many it were.
 */
export async function endLeftUploads(
  deps: Pick<MoveDeps, 'meta' | 'source' | 'target' | 'clock' | 'fence'>,
  signal: AbortSignal,
): Promise<number> {
  const { meta, source, target } = deps;
  let ended = 0;
  for (const list of ['listStaged', 'list'] as const) {
    let cursor: string | null = null;
    do {
      const page: Page<{ readonly uploadId: UploadId | null }> = await source[list](cursor, pageMax);
      const ids = page.entries.flatMap(({ uploadId }) => uploadId ?? []);
      for (const id of await meta.read.uploads.known(ids)) {
        signal.throwIfAborted();
        if (!(await endLeftUpload(deps, id))) continue;
        await source.withdraw(id);
        await target.withdraw(id);
        ended += 1;
      }
      cursor = page.cursor;
    } while (cursor !== null);
  }
  return ended;
}

/** False when it is none any more, or somebody's at this moment. */
async function endLeftUpload(
  { meta, target, clock, fence }: Pick<MoveDeps, 'meta' | 'target' | 'clock' | 'fence'>,
  id: UploadId,
): Promise<boolean> {
  const token = randomBytes(16).toString('hex');
  return meta.transaction(
    async (tx) => {
      await fence(tx);
      const taken = await tx.uploads.acquire(id, token, endingLeaseMillis);
      if (taken === null || taken === 'busy') return false;
      return endUpload({ blobs: target }, tx, { id, token, at: clock.now() });
    },
    { durable: false },
  );
}

async function* rowsIn(
  deps: Pick<MoveDeps, 'meta' | 'source'>,
  signal: AbortSignal,
): AsyncGenerator<StoredBlobRow, void, void> {
  let after: Digest | null = null;
  for (;;) {
    const page: readonly StoredBlobRow[] = await deps.meta.read.blobs.scan(after, pageMax);
    for (const row of page) {
      signal.throwIfAborted();
      if (deps.source.owns(row.location)) yield row;
    }
    after = page.at(-1)?.digest ?? null;
    if (page.length < pageMax) return;
  }
}

interface Copying {
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
}

async function moveBlob(deps: MoveDeps, row: StoredBlobRow, copying: Copying): Promise<Moved> {
  const { digest, sizeBytes, location: from } = row;
  const outcome = async (): Promise<Moved['outcome']> => {
    await requireRoom(deps, sizeBytes);
    try {
      const body = await deps.source.open(from, null, copying.signal);
      if (body === null) return (await isStillAt(deps, row)) ? 'damaged' : 'gone';
      try {
        return await copyAndSwitch(deps, row, { ...copying, body });
      } finally {
        await body.close();
      }
    } catch (error) {
      if (!(error instanceof DamagedBlob)) throw error;
      return (await isStillAt(deps, row)) ? 'damaged' : 'gone';
    }
  };
  return { digest, sizeBytes, from, outcome: await outcome() };
}

async function requireRoom({ target, reserveBytes }: MoveDeps, sizeBytes: number): Promise<void> {
  const free = (await target.space?.())?.freeBytes ?? Number.POSITIVE_INFINITY;
  if (free - sizeBytes >= reserveBytes) return;
  throw new Unavailable('blob store', 'the store that blobs move to has no room for more', {
    retryable: true,
    full: true,
  });
}

async function isStillAt({ meta }: MoveDeps, { digest, location }: StoredBlobRow): Promise<boolean> {
  const row = await meta.read.blobs.find(digest);
  return row?.state === 'present' && row.location === location;
}

/**
 * The copy is an upload like any other, as the ledger sees it: when this run dies, its row expires and takes the bytes with
 * it. Whoever takes the row away decides: in one transaction with the blob's new place, or to withdraw the copy.
 */
async function copyAndSwitch(
  deps: MoveDeps,
  row: StoredBlobRow,
  copying: Copying & { readonly body: BlobBody },
): Promise<Moved['outcome']> {
  const { meta, target, clock } = deps;
  const { digest, sizeBytes, location: from } = row;
  const id = newUploadId();
  await beginCopy(deps, id, row);
  try {
    if (!(await copy(deps, { id, row, ...copying }))) {
      await withdraw(deps, id);
      return 'damaged';
    }
    const stored = await target.commit(id, digest, sizeBytes);
    if (stored === null) throw lost(digest);
    const to = stored.location;
    const moved = await meta.transaction(async (tx) => {
      await deps.fence(tx);
      const now = clock.now();
      const isMoved = await tx.blobs.move(digest, { from, to }, now);
      const ended = isMoved
        ? tx.uploads.delete(id, null)
        : endUpload({ blobs: target }, tx, { id, token: null, at: now });
      if (!(await ended)) throw lost(digest);
      return isMoved;
    });
    if (moved) return 'moved';
    await target.withdraw(id);
    return 'gone';
  } catch (error) {
    await withdraw(deps, id).catch(() => undefined);
    throw error;
  }
}

async function beginCopy(
  { meta, target, clock }: MoveDeps,
  id: UploadId,
  { digest }: StoredBlobRow,
): Promise<void> {
  const now = clock.now();
  await meta.transaction(
    (tx) =>
      tx.uploads.insert({
        id,
        repository: copier as RepositoryName,
        principal: copier,
        algorithm: digestAlgorithm(digest),
        offsetBytes: 0,
        digestSoFar: null,
        hashedInRun: null,
        closingAs: null,
        startedAt: now,
        expiresAt: now + copyMillisMax,
      }),
    { durable: ownPlace(target, id) !== null, concurrent: true },
  );
}

/** False when the bytes are not those of the digest. */
async function copy(
  { target }: MoveDeps,
  what: Copying & { readonly id: UploadId; readonly row: StoredBlobRow; readonly body: BlobBody },
): Promise<boolean> {
  const { id, row, body, signal, onBytes } = what;
  const running = new RunningDigest(digestAlgorithm(row.digest));
  const hashed = async function* (): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of body.chunks) {
      running.update(chunk);
      onBytes(chunk.byteLength);
      yield chunk;
      body.recycle?.(chunk);
    }
  };
  const copied = await target.append(id, 0, hashed(), signal);
  return copied === row.sizeBytes && running.digest() === row.digest;
}

/** The transaction may have been committed although its answer was lost: then the row is gone, and the copy is the blob. */
async function withdraw({ meta, target, clock }: MoveDeps, id: UploadId): Promise<void> {
  const options = { durable: false, concurrent: true };
  if (
    await meta.transaction(
      (tx) => endUpload({ blobs: target }, tx, { id, token: null, at: clock.now() }),
      options,
    )
  )
    await target.withdraw(id);
}

function lost(digest: Digest): Unavailable {
  return new Unavailable('blob store', `the copy of blob ${digest} was lost on its way: try again`, {
    retryable: true,
  });
}
