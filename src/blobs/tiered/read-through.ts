import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../../oci/digest.ts';
import type { Metrics } from '../../telemetry/telemetry.ts';
import type { BlobBody, BlobLocation, BlobStore, ByteRange } from '../blob-store.ts';
import { newUploadId } from '../upload-id.ts';
import { Fill } from './fill.ts';
import { type FillClaim, FillClaims } from './fill-claims.ts';
import { FillFollower } from './fill-follower.ts';
import { openHotBody } from './hot-body.ts';
import type { HotFiles } from './hot-files.ts';

/** Copies that this process makes at a time; of them, those that nobody waits for. What is beyond is read without a copy. */
const FILLS_MAX = 32;
const QUIET_FILLS_MAX = 2;
/** A blob larger than this part of what the copies may take is not copied: it would push out everything else. */
const COPY_SHARE_MAX = 1 / 4;
/** How often is looked whether another process has an answer of the cold tier, in milliseconds, and for how long. */
const PENDING_POLL_MILLISECONDS = 10;
const PENDING_MILLISECONDS_MAX = 2_000;

interface ReadThroughDeps {
  readonly hot: HotFiles;
  readonly cold: BlobStore;
  readonly metrics: Pick<Metrics, 'tier'>;
  readonly hotBytesMax: number;
  /** Whether the device of the copies has room for so many bytes more. */
  readonly hasRoom: (bytes: number) => Promise<boolean>;
  readonly onRot: (location: BlobLocation, problem: unknown) => void;
}

interface Wanted {
  readonly location: BlobLocation;
  readonly range: ByteRange | null;
  readonly signal: AbortSignal;
  readonly digest: Digest;
}

/** Reads of blobs: from a copy, from one that is being made, or from the cold tier while a copy is made. */
export class ReadThrough {
  readonly #deps: ReadThroughDeps;
  readonly #claims: FillClaims;
  readonly #fills = new Map<BlobLocation, Promise<Fill | null>>();
  readonly #closing = new AbortController();
  #quiet = 0;

  constructor(deps: ReadThroughDeps) {
    this.#deps = deps;
    this.#claims = new FillClaims(deps.hot.root);
  }

  /** What this machine has; null when it has nothing. A hot tier that fails is none. */
  async openHot(
    location: BlobLocation,
    range: ByteRange | null,
    signal: AbortSignal,
  ): Promise<BlobBody | null> {
    const { hot, cold, metrics, onRot } = this.#deps;
    const file = await hot.find(location);
    if (file === null) return null;
    const onRotHere = (problem: unknown): void => onRot(location, problem);
    const body = await openHotBody({ hot, cold, file, range, signal, onRot: onRotHere });
    if (body === null) return null;
    metrics.tier('read_hot');
    if (file.place === 'copies') await hot.touch(location);
    return body;
  }

  /** What this machine has not. */
  async openCold(wanted: Wanted): Promise<BlobBody | null> {
    const running = await this.#running(wanted);
    if (running !== null) return running;
    if (wanted.range !== null) {
      this.#fillQuietly(wanted);
      return await this.#direct(wanted);
    }
    if (this.#fills.size >= FILLS_MAX) return await this.#direct(wanted);
    const fill = await this.#begin(wanted);
    if (fill === 'absent') return null;
    if (fill !== null) return this.#follow(wanted, fill);
    return (await this.#elsewhere(wanted)) ?? (await this.#direct(wanted));
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the store is closed'));
    const fills = await Promise.allSettled(this.#fills.values());
    await Promise.all(fills.map(async (each) => each.status === 'fulfilled' && (await each.value?.ended)));
  }

  /** Resolves when no copy is being made by this process. */
  async settled(): Promise<void> {
    while (this.#fills.size > 0) {
      const fills = await Promise.allSettled(this.#fills.values());
      await Promise.all(fills.map(async (each) => each.status === 'fulfilled' && (await each.value?.ended)));
      await sleep(0);
    }
  }

  /** One that this process makes. A range is served by it only when its bytes are there already. */
  async #running(wanted: Wanted): Promise<BlobBody | null> {
    const fill = await this.#fills.get(wanted.location)?.catch(() => null);
    if (fill === undefined || fill === null) return null;
    const isThere = wanted.range === null || fill.writtenBytes > wanted.range.end;
    return isThere ? this.#follow(wanted, fill) : null;
  }

  #follow(wanted: Wanted, fill: Fill): BlobBody {
    this.#deps.metrics.tier('read_followed');
    const { uploadId, sizeBytes } = fill;
    return new FillFollower({ ...this.#deps, ...wanted, followed: { ...wanted, uploadId, sizeBytes, fill } });
  }

  /** One that another process makes; null when there is none, or none that tells enough in time. */
  async #elsewhere(wanted: Wanted): Promise<BlobBody | null> {
    const deadline = performance.now() + PENDING_MILLISECONDS_MAX;
    while (performance.now() < deadline) {
      wanted.signal.throwIfAborted();
      const notice = await this.#claims.look(wanted.location).catch(() => 'free' as const);
      if (notice === 'free') return await this.openHot(wanted.location, wanted.range, wanted.signal);
      if (notice !== 'pending') {
        this.#deps.metrics.tier('read_followed');
        return new FillFollower({ ...this.#deps, ...wanted, followed: { ...wanted, ...notice, fill: null } });
      }
      await sleep(PENDING_POLL_MILLISECONDS, undefined, { signal: wanted.signal });
    }
    return null;
  }

  async #direct({ location, range, signal }: Wanted): Promise<BlobBody | null> {
    this.#deps.metrics.tier('read_cold');
    return await this.#deps.cold.open(location, range, signal);
  }

  #fillQuietly(wanted: Wanted): void {
    if (this.#quiet >= QUIET_FILLS_MAX || this.#fills.size >= FILLS_MAX) return;
    if (this.#fills.has(wanted.location)) return;
    this.#quiet += 1;
    this.#begin(wanted)
      .then((fill) => (fill === null || fill === 'absent' ? null : fill.ended))
      .catch(() => null)
      .finally(() => {
        this.#quiet -= 1;
      });
  }

  /** Null when no copy can be made (here, or now): another process may be at it. Throws what the cold tier throws. */
  async #begin(wanted: Wanted): Promise<Fill | 'absent' | null> {
    const { location } = wanted;
    const known = this.#fills.get(location);
    if (known !== undefined) return await known;
    let isAbsent = false;
    const beginning = this.#claimAndOpen(wanted, () => {
      isAbsent = true;
    });
    this.#fills.set(location, beginning);
    const forget = (): void => void this.#fills.delete(location);
    beginning.then(async (fill) => {
      await fill?.ended;
      forget();
    }, forget);
    const fill = await beginning;
    return isAbsent ? 'absent' : fill;
  }

  async #claimAndOpen(wanted: Wanted, onAbsent: () => void): Promise<Fill | null> {
    const { metrics, cold, hotBytesMax, hasRoom } = this.#deps;
    const claim = await this.#claims.take(wanted.location).catch(() => null);
    if (claim === null) return null;
    try {
      const body = await cold.open(wanted.location, null, this.#closing.signal);
      if (body === null) {
        onAbsent();
        await claim.giveBack();
        return null;
      }
      if (body.sizeBytes > hotBytesMax * COPY_SHARE_MAX || !(await hasRoom(body.sizeBytes))) {
        metrics.tier('copy_skipped');
        await body.close();
        await claim.giveBack();
        return null;
      }
      metrics.tier('read_cold');
      return this.#start(wanted, body, claim);
    } catch (error) {
      await claim.giveBack();
      throw error;
    }
  }

  #start(wanted: Wanted, body: BlobBody, claim: FillClaim): Fill {
    const { hot, metrics } = this.#deps;
    const { location, digest } = wanted;
    const fill = new Fill({
      hot,
      uploadId: newUploadId(),
      location,
      digest,
      body,
      claim,
      signal: this.#closing.signal,
    });
    void fill.ended.then((isCopied) => metrics.tier(isCopied ? 'filled' : 'fill_failed'));
    return fill;
  }
}
