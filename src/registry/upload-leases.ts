import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { UploadId } from '../blobs/blob-store.ts';
import type { MetaStore, Upload } from '../meta/meta-store.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { Clock } from '../std/clock.ts';

/** A holder that died is waited out for this long, in milliseconds. */
const leaseMillis = 10_000;
const renewEveryMillis = 1000;
const pollEveryMillis = 100;
/** Longer than a lease: a request outwaits a process that died holding the upload. In milliseconds. */
const waitMillisMax = 15_000;

export interface UploadLease {
  readonly upload: Upload;
  readonly token: string;
  /** Aborts when another request takes over, or when the lease is lost. */
  readonly signal: AbortSignal;
}

interface Holder {
  readonly controller: AbortController;
  readonly done: Promise<void>;
}

/**
 * One writer per upload, over all processes. The newest request wins: a client whose connection broke comes back before
 * the server has noticed, and must not be told that it competes with itself.
 */
export class UploadLeases {
  readonly #meta: MetaStore;
  readonly #clock: Clock;
  readonly #idleMillisMax: number;
  readonly #holders = new Map<UploadId, Holder>();

  constructor(deps: { readonly meta: MetaStore; readonly clock: Clock; readonly idleSecondsMax: number }) {
    this.#meta = deps.meta;
    this.#clock = deps.clock;
    this.#idleMillisMax = deps.idleSecondsMax * 1000;
  }

  /** When an upload that is touched now expires. */
  expiresAt(): number {
    return this.#clock.now() + this.#idleMillisMax;
  }

  /** Runs `work` as the only writer of the upload. `work` releases or deletes the row; a crash leaves it to time. */
  async hold<T>(id: UploadId, signal: AbortSignal, work: (lease: UploadLease) => Promise<T>): Promise<T> {
    const token = randomBytes(16).toString('hex');
    const upload = await this.#acquire(id, token, signal);
    const controller = new AbortController();
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const holder: Holder = { controller, done };
    this.#holders.set(id, holder);
    const stopRenewing = this.#renewing(id, token, controller);
    try {
      return await work({ upload, token, signal: controller.signal });
    } finally {
      stopRenewing();
      if (this.#holders.get(id) === holder) this.#holders.delete(id);
      resolve();
    }
  }

  async #acquire(id: UploadId, token: string, signal: AbortSignal): Promise<Upload> {
    const deadline = performance.now() + waitMillisMax;
    for (;;) {
      signal.throwIfAborted();
      const local = this.#holders.get(id);
      if (local !== undefined) {
        local.controller.abort(takenOver());
        await Promise.race([local.done, sleep(pollEveryMillis)]);
      }
      const now = this.#clock.now();
      const acquired = await this.#meta.transaction(
        (tx) => tx.uploads.acquire(id, token, now + leaseMillis, now),
        { durable: false, concurrent: true },
      );
      if (acquired === null) throw new RegistryError('BLOB_UPLOAD_UNKNOWN');
      if (acquired !== 'busy') return acquired;
      if (performance.now() > deadline)
        throw new RegistryError('UPLOAD_BUSY', null, { retryAfterSeconds: 1 });
      await sleep(pollEveryMillis, undefined, { signal });
    }
  }

  #renewing(id: UploadId, token: string, controller: AbortController): () => void {
    let heldUntil = performance.now() + leaseMillis;
    let running = false;
    const renew = async (): Promise<void> => {
      try {
        const until = this.#clock.now() + leaseMillis;
        const asked = performance.now();
        const answer = await this.#meta.transaction(
          (tx) => tx.uploads.renew(id, token, until, this.expiresAt()),
          { durable: false, concurrent: true },
        );
        if (answer === 'held') heldUntil = asked + leaseMillis;
        else controller.abort(takenOver());
      } catch (error) {
        // The ledger may be back at the next tick; until the lease ends nobody else can have it.
        if (performance.now() + renewEveryMillis > heldUntil) controller.abort(error);
      }
    };
    const timer = setInterval(() => {
      if (running) return;
      running = true;
      void renew().finally(() => {
        running = false;
      });
    }, renewEveryMillis);
    timer.unref();
    return () => clearInterval(timer);
  }
}

function takenOver(): RegistryError {
  return new RegistryError('UPLOAD_BUSY', 'another request has taken over this upload');
}
