import type { MetaStore } from '../meta/meta-store.ts';
import { type Fence, LeaseLost } from '../registry/fence.ts';

/** A holder that died keeps a job from running for this long. */
const LEASE_MILLISECONDS = 10_000;
const RENEW_MILLISECONDS = 3_000;
/** A holder that hears nothing from the ledger stops so long before others may begin. */
const MARGIN_MILLISECONDS = 2_000;

const LIGHT = { durable: false, concurrent: true };

export interface LeaseDependencies {
  readonly meta: MetaStore;
  /** Names this process; no two are the same. */
  readonly holder: string;
  /** While it drains, it takes no lease and gives back what it has. */
  readonly nodeId: string;
}

export interface Turn {
  /** Aborts when somebody else may begin soon. */
  readonly lost: AbortSignal;
  readonly fence: Fence;
}

export interface LeaseRequest {
  readonly name: string;
  /** After work that came to its end nobody begins again within this time, on any node. */
  readonly restMillis: number;
}

/**
 * Runs `work` while holding the lease; null, without running it, when somebody else holds it, when it rests, or when this
 * node drains. Its time is the ledger's; the holder itself goes by the time that passed since it last asked, as its wall
 * clock may be set while it works.
 */
export async function withLease<T>(
  deps: LeaseDependencies,
  request: LeaseRequest,
  work: (turn: Turn) => Promise<T>,
): Promise<{ readonly value: T } | null> {
  const asked = performance.now();
  const fence = await take(deps, request.name);
  if (fence === null) return null;
  const held = new HeldLease(deps, { name: request.name, fence, asked });
  let isDone = false;
  try {
    const value = await work({ lost: held.lost, fence: (tx) => held.require(tx) });
    isDone = true;
    return { value };
  } catch (error) {
    // What failed here may go well elsewhere, but not at once.
    isDone = !(error instanceof LeaseLost);
    throw error;
  } finally {
    held.stop();
    await giveBack(deps, request.name, isDone && !held.lost.aborted ? request.restMillis : 0);
  }
}

/** Lets a lease go that was taken by `withLease` and is not needed to its end: whoever waits for it may begin. */
async function giveBack(deps: LeaseDependencies, name: string, restMillis: number): Promise<void> {
  try {
    await deps.meta.transaction((tx) => tx.leases.free(name, deps.holder, restMillis), LIGHT);
  } catch {
    // It ends by itself.
  }
}

function take({ meta, holder, nodeId }: LeaseDependencies, name: string): Promise<number | null> {
  return meta.transaction(async (tx) => {
    if (await tx.nodes.isDraining(nodeId)) return null;
    return tx.leases.take(name, holder, LEASE_MILLISECONDS);
  }, LIGHT);
}

/** A lease from its taking to its end, renewed meanwhile. */
class HeldLease {
  readonly #deps: LeaseDependencies;
  readonly #name: string;
  readonly #fence: number;
  readonly #lost = new AbortController();
  readonly #timer: NodeJS.Timeout;
  /** By this process's monotonic clock. */
  #sureUntil: number;
  #isAsking = false;
  #askedAt: number;

  constructor(
    deps: LeaseDependencies,
    taken: { readonly name: string; readonly fence: number; readonly asked: number },
  ) {
    this.#deps = deps;
    this.#name = taken.name;
    this.#fence = taken.fence;
    this.#askedAt = taken.asked;
    this.#sureUntil = sureFrom(taken.asked);
    this.#timer = setInterval(() => this.#tick(), RENEW_MILLISECONDS / 6);
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async require(tx: Parameters<Fence>[0]): Promise<void> {
    this.#lost.signal.throwIfAborted();
    if (!(await tx.leases.isCurrent(this.#name, this.#fence))) throw this.#give();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const now = performance.now();
    if (now >= this.#sureUntil) this.#give();
    else if (!this.#isAsking && now - this.#askedAt >= RENEW_MILLISECONDS) void this.#renew(now);
  }

  async #renew(now: number): Promise<void> {
    this.#isAsking = true;
    this.#askedAt = now;
    try {
      if ((await take(this.#deps, this.#name)) === this.#fence) this.#sureUntil = sureFrom(now);
      else this.#give();
    } catch {
      // The ledger may be back before the time is over.
    } finally {
      this.#isAsking = false;
    }
  }

  #give(): LeaseLost {
    const lost = new LeaseLost(this.#name);
    this.#lost.abort(lost);
    return lost;
  }
}

function sureFrom(asked: number): number {
  return asked + LEASE_MILLISECONDS - MARGIN_MILLISECONDS;
}
