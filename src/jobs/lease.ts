import type { MetaStore } from '../meta/meta-store.ts';
import type { Clock } from '../std/clock.ts';

/** A holder that died keeps a job from running for this long. */
const LEASE_MILLISECONDS = 60_000;
const RENEW_MILLISECONDS = 20_000;

export interface LeaseDependencies {
  readonly meta: MetaStore;
  readonly clock: Clock;
  /** Names this process; no two are the same. */
  readonly holder: string;
}

/**
 * Runs `work` while holding the lease `name`; null, without running it, when somebody else holds it. When the lease
 * cannot be renewed the signal given to `work` aborts: somebody else may begin soon.
 */
export async function withLease<T>(
  deps: LeaseDependencies,
  name: string,
  work: (lost: AbortSignal) => Promise<T>,
): Promise<{ readonly value: T } | null> {
  if (!(await take(deps, name))) return null;
  const lost = new AbortController();
  const renewal = setInterval(() => {
    take(deps, name).then(
      (held) => {
        if (!held) lost.abort(new Error(`the lease ${name} was lost`));
      },
      (error: unknown) => lost.abort(error),
    );
  }, RENEW_MILLISECONDS);
  try {
    return { value: await work(lost.signal) };
  } finally {
    clearInterval(renewal);
    await deps.meta.transaction((tx) => tx.leases.free(name, deps.holder), {
      durable: false,
      concurrent: true,
    });
  }
}

async function take({ meta, clock, holder }: LeaseDependencies, name: string): Promise<boolean> {
  return meta.transaction(
    async (tx) => {
      const at = clock.now();
      return (await tx.leases.take(name, holder, at + LEASE_MILLISECONDS, at)) !== null;
    },
    { durable: false, concurrent: true },
  );
}
