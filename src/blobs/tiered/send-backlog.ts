import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestAlgorithm, makeDigest } from '../../oci/digest.ts';
import { Unavailable } from '../../std/unavailable.ts';
import type { Metrics } from '../../telemetry/telemetry.ts';
import type { BlobLocation, BlobStore, StoredBlob, Upkeep } from '../blob-store.ts';
import { nothing } from '../body-bytes.ts';
import { checkedPieces } from './hot-body.ts';
import type { HotFiles } from './hot-files.ts';
import type { Seal } from './seal.ts';

const INTERVAL_SECONDS = 1;
/** So often the backlog is listed also when nobody told of a change. */
const LOOK_MILLISECONDS_MAX = 60_000;
/** After a failure the cold tier gets so long to recover, at first and at most. */
const BACKOFF_MILLISECONDS_MIN = 250;
const BACKOFF_MILLISECONDS_MAX = 10_000;
/** What cannot be sent as it is (a damaged file) is tried again after so long. */
const STUCK_MILLISECONDS = 60_000;
const PAGE_MAX = 500;

export interface SenderDeps {
  readonly hot: HotFiles;
  readonly cold: BlobStore;
  readonly metrics: Pick<Metrics, 'tier' | 'tierBacklog'>;
  /** Blobs sent at a time. */
  readonly sendsMax: number;
  /** Something that a person has to look at. */
  readonly onProblem: (problem: unknown, about: string) => void;
}

interface Tally {
  sent: number;
  sentBytes: number;
  failed: number;
}

/**
 * Brings what waits in the backlog to the cold tier. The files are the queue: one is renamed out of it when the cold tier has
 * its bytes durably, so that a crash at any moment only makes it be sent again.
 */
export class BacklogSender implements Upkeep {
  readonly name = 'send-backlog';
  readonly intervalSeconds = INTERVAL_SECONDS;
  readonly atEnd = true;
  readonly #deps: SenderDeps;
  #emptyAt: number | null = null;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #backoffMilliseconds = 0;
  /** When to try again, by file. */
  readonly #stuck = new Map<BlobLocation, number>();

  constructor(deps: SenderDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<Readonly<Record<string, number>> | null> {
    const changedAt = await this.#deps.hot.changedAt();
    const isQuiet = this.#emptyAt !== null && changedAt === this.#emptyAt;
    if (isQuiet && performance.now() - this.#lookedAt < LOOK_MILLISECONDS_MAX) return null;
    await this.#waitForCold(signal);
    if (signal.aborted) return null;
    this.#lookedAt = performance.now();
    const waiting = await this.#waiting();
    const tally = await this.#sendAll(waiting, signal);
    this.#backoffMilliseconds =
      tally.failed === 0
        ? 0
        : Math.min(
            BACKOFF_MILLISECONDS_MAX,
            Math.max(BACKOFF_MILLISECONDS_MIN, 2 * this.#backoffMilliseconds),
          );
    this.#emptyAt = tally.sent === waiting.length ? changedAt : null;
    return waiting.length === 0 ? null : { ...tally };
  }

  async #waitForCold(signal: AbortSignal): Promise<void> {
    if (this.#backoffMilliseconds === 0) return;
    await sleep(this.#backoffMilliseconds, undefined, { signal }).catch(() => undefined);
  }

  /** The oldest first. Names only: their number is bounded as the backlog is. */
  async #waiting(): Promise<StoredBlob[]> {
    const { hot, metrics } = this.#deps;
    const files = await listBacklog(hot);
    metrics.tierBacklog(files.length, totalBytes(files));
    const now = performance.now();
    for (const [file, retryAt] of this.#stuck) if (retryAt <= now) this.#stuck.delete(file);
    return files
      .filter(({ location }) => !this.#stuck.has(location))
      .sort((a, b) => a.modifiedAt - b.modifiedAt);
  }

  /** After a failure of the cold tier nothing new is begun: the next run waits for it. */
  async #sendAll(waiting: readonly StoredBlob[], signal: AbortSignal): Promise<Tally> {
    const { metrics, onProblem, sendsMax } = this.#deps;
    const tally = { sent: 0, sentBytes: 0, failed: 0 };
    const left = waiting[Symbol.iterator]();
    let leftBlobs = waiting.length;
    let leftBytes = totalBytes(waiting);
    const lane = async (): Promise<void> => {
      for (const file of left) {
        if (signal.aborted || tally.failed > 0) return;
        try {
          const sentBytes = await sendFile(this.#deps, file.location, signal);
          tally.sent += 1;
          tally.sentBytes += sentBytes;
          leftBlobs -= 1;
          leftBytes -= file.sizeBytes;
          metrics.tier('sent');
          metrics.tierBacklog(leftBlobs, leftBytes);
        } catch (error) {
          if (signal.aborted) return;
          metrics.tier('send_failed');
          tally.failed += 1;
          if (!(error instanceof Unavailable && error.retryable)) {
            this.#stuck.set(file.location, performance.now() + STUCK_MILLISECONDS);
          }
          onProblem(error, 'a blob that waits for the cold tier could not be sent');
        }
      }
    };
    // One iterator for all lanes: each takes what the others have not.
    await Promise.all(Array.from({ length: sendsMax }, lane));
    return tally;
  }
}

export async function listBacklog(hot: HotFiles): Promise<StoredBlob[]> {
  const files: StoredBlob[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<BlobStore['list']>> = await hot.backlog.list(cursor, PAGE_MAX);
    files.push(...page.entries);
    cursor = page.cursor;
  } while (cursor !== null);
  return files;
}

export function totalBytes(files: readonly StoredBlob[]): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** Resolves with the bytes sent when the cold tier has them durably and the file waits no more. */
async function sendFile(deps: SenderDeps, file: BlobLocation, signal: AbortSignal): Promise<number> {
  const { hot, cold } = deps;
  const seal = await hot.readSeal('backlog', file);
  if (seal === null) {
    // Deleted since it was listed; a damaged one stays for a person to look at.
    if ((await hot.backlog.stat(file)) === null) return 0;
    throw new Error(`the file ${file} in the backlog is damaged: its seal cannot be read`);
  }
  const end = seal.sizeBytes - 1;
  const body =
    seal.sizeBytes === 0 ? null : await hot.openFile({ place: 'backlog', seal }, { start: 0, end }, signal);
  if (body === null && seal.sizeBytes > 0) return 0;
  let stored: StoredBlob;
  try {
    const chunks = body === null ? nothing() : checkedPieces(body.chunks, { seal, first: 0 });
    stored = await sendBytes(cold, { seal, chunks, signal });
  } finally {
    await body?.close();
  }
  const waited = await hot.promote(seal.location);
  // Deleted while it was sent. A place of its own is nobody else's: what came there afterwards goes, too.
  if (!waited && stored.uploadId !== null) await cold.delete(seal.location);
  return waited ? seal.sizeBytes : 0;
}

/** From the first byte, whatever an earlier attempt left there. Nothing is committed that has another digest. */
export async function sendBytes(
  cold: BlobStore,
  what: { readonly seal: Seal; readonly chunks: AsyncIterable<Uint8Array>; readonly signal: AbortSignal },
): Promise<StoredBlob> {
  const { seal, chunks, signal } = what;
  const { uploadId, digest, sizeBytes, location } = seal;
  if (cold.locate(uploadId, digest) !== location) {
    throw new Error(`blob ${digest} was pushed for another cold tier, in which it has the place ${location}`);
  }
  const algorithm = digestAlgorithm(digest);
  const hash = createHash(algorithm);
  const hashed = async function* (): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
  };
  await cold.append(uploadId, 0, hashed(), signal);
  if (makeDigest(algorithm, hash.digest('hex')) !== digest) {
    await cold.discard(uploadId).catch(() => undefined);
    throw new Unavailable('blob store', `blob ${digest} is damaged: its bytes have another digest`, {
      retryable: false,
    });
  }
  const stored = await cold.commit(uploadId, digest, sizeBytes);
  if (stored !== null) return stored;
  throw new Unavailable('blob store', `the cold tier lost the bytes of blob ${digest} on their way`, {
    retryable: true,
  });
}
