import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { UploadId } from '../blobs/blob-store.ts';
import type { MetaStore, Notice, Upload } from '../meta/meta-store.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { Clock } from '../std/clock.ts';

/** A holder that died is waited out for this long, in milliseconds. By the ledger's clock. */
const leaseMillis = 10_000;
const renewEveryMillis = 1000;
/** A holder that hears nothing from the ledger stops so long before its lease ends, in milliseconds. */
const marginMillis = 2 * renewEveryMillis;
const pollEveryMillis = 100;
/** Longer than a lease: a request outwaits a process that died holding the upload. In milliseconds. */
const waitMillisMax = 15_000;
/** Of one row each, changed by one statement; a lease need not survive power loss. */
const LIGHT = { durable: false, concurrent: true };

export interface UploadLease {
  readonly upload: Upload;
  readonly token: string;
  /** Aborts when another request takes over, or when the lease is lost. */
  readonly signal: AbortSignal;
  /** Aborts when the lease is lost: another request may hold it. */
  readonly lost: AbortSignal;
}

interface Holder {
  readonly controller: AbortController;
  readonly done: Promise<void>;
  readonly renewal: Renewal;
}

/**
 * One writer per upload, over all processes of all nodes. The newest request wins: a client whose connection broke comes back
 * before the server has noticed, and must not be told that it competes with itself. Notices make the change quick; without
 * them the holder learns of it at its next renewal.
 */
export class UploadLeases {
  readonly #meta: MetaStore;
  readonly #clock: Clock;
  readonly #idleMillisMax: number;
  readonly #holders = new Map<UploadId, Holder>();
  readonly #waiting = new Map<UploadId, Set<AbortController>>();

  constructor(deps: { readonly meta: MetaStore; readonly clock: Clock; readonly idleSecondsMax: number }) {
    this.#meta = deps.meta;
    this.#clock = deps.clock;
    this.#idleMillisMax = deps.idleSecondsMax * 1000;
    // Ends with the store.
    this.#meta.notices.subscribe((notice) => this.#hear(notice));
  }

  /** When an upload that is touched now expires. */
  expiresAt(): number {
    return this.#clock.now() + this.#idleMillisMax;
  }

  /** Runs `work` as the only writer of the upload. `work` releases or deletes the row; a crash leaves it to time. */
  async hold<T>(id: UploadId, signal: AbortSignal, work: (lease: UploadLease) => Promise<T>): Promise<T> {
    const token = randomBytes(16).toString('hex');
    const { upload, asked } = await this.#acquire(id, token, signal);
    const controller = new AbortController();
    const loss = new AbortController();
    loss.signal.addEventListener('abort', () => controller.abort(loss.signal.reason), { once: true });
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const renewal = new Renewal({ ask: () => this.#renew(id, token), controller, loss, asked });
    const holder: Holder = { controller, done, renewal };
    this.#holders.set(id, holder);
    try {
      return await work({ upload, token, signal: controller.signal, lost: loss.signal });
    } finally {
      renewal.stop();
      if (this.#holders.get(id) === holder) this.#holders.delete(id);
      resolve();
    }
  }

  async #acquire(
    id: UploadId,
    token: string,
    signal: AbortSignal,
  ): Promise<{ readonly upload: Upload; readonly asked: number }> {
    const deadline = performance.now() + waitMillisMax;
    for (;;) {
      signal.throwIfAborted();
      const local = this.#holders.get(id);
      if (local !== undefined) {
        local.controller.abort(takenOver());
        await Promise.race([local.done, sleep(pollEveryMillis)]);
      }
      const asked = performance.now();
      const acquired = await this.#meta.transaction(
        (tx) => tx.uploads.acquire(id, token, leaseMillis),
        LIGHT,
      );
      if (acquired === null) throw new RegistryError('BLOB_UPLOAD_UNKNOWN');
      if (acquired !== 'busy') return { upload: acquired, asked };
      if (performance.now() > deadline)
        throw new RegistryError('UPLOAD_BUSY', null, { retryAfterSeconds: 1 });
      await this.#pause(id, signal);
    }
  }

  /** Until the next look; shorter when the upload is said to be free. */
  async #pause(id: UploadId, signal: AbortSignal): Promise<void> {
    const freed = new AbortController();
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting.add(freed));
    try {
      await sleep(pollEveryMillis, undefined, { signal: AbortSignal.any([signal, freed.signal]) });
    } catch (error) {
      if (!freed.signal.aborted) throw error;
    } finally {
      waiting.delete(freed);
      if (waiting.size === 0) this.#waiting.delete(id);
    }
  }

  #renew(id: UploadId, token: string): Promise<'held' | 'wanted' | 'lost'> {
    const lease = { leaseMillis, expiresAt: this.expiresAt() };
    return this.#meta.transaction((tx) => tx.uploads.renew(id, token, lease), LIGHT);
  }

  #hear(notice: Notice): void {
    if (notice.kind === 'upload_freed') {
      for (const waiting of this.#waiting.get(notice.id) ?? []) waiting.abort();
    } else if (notice.kind === 'upload_wanted') {
      // It may be late, and have been about the holder before: the row says who is wanted.
      this.#holders.get(notice.id)?.renewal.ask();
    }
  }
}

interface RenewalOptions {
  readonly ask: () => Promise<'held' | 'wanted' | 'lost'>;
  /** Of the work. */
  readonly controller: AbortController;
  /** Of the lease. */
  readonly loss: AbortController;
  /** When the lease was asked for, by `performance.now()`. */
  readonly asked: number;
}

/** Renews a lease until it is stopped or lost. */
class Renewal {
  readonly #options: RenewalOptions;
  readonly #timer: NodeJS.Timeout;
  /** Nobody else can have the lease until then. By the monotonic clock: the wall clock may be set meanwhile. */
  #sureUntil: number;
  #isAsking = false;

  constructor(options: RenewalOptions) {
    this.#options = options;
    this.#sureUntil = options.asked + leaseMillis - marginMillis;
    this.#timer = setInterval(() => this.ask(), renewEveryMillis);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  ask(): void {
    if (performance.now() > this.#sureUntil) this.#options.loss.abort(takenOver());
    else if (!this.#isAsking) void this.#renew();
  }

  async #renew(): Promise<void> {
    this.#isAsking = true;
    const asked = performance.now();
    try {
      const answer = await this.#options.ask();
      if (answer === 'lost') this.#options.loss.abort(takenOver());
      else this.#sureUntil = asked + leaseMillis - marginMillis;
      if (answer === 'wanted') this.#options.controller.abort(takenOver());
    } catch (error) {
      // The ledger may be back at the next tick; until the lease ends nobody else can have it.
      if (performance.now() + renewEveryMillis > this.#sureUntil) this.#options.loss.abort(error);
    } finally {
      this.#isAsking = false;
    }
  }
}

function takenOver(): RegistryError {
  return new RegistryError('UPLOAD_BUSY', 'another request has taken over this upload');
}
