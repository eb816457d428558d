import type { BlobStore } from '../blobs/blob-store.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { formatByteSize } from '../std/byte-size.ts';
import type { Clock } from '../std/clock.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';

export interface Readiness {
  readonly ok: boolean;
  readonly parts: readonly ReadinessPart[];
}

interface ReadinessPart {
  readonly name: 'blob store' | 'free space' | 'meta store' | 'node';
  readonly ok: boolean;
  /** A sentence without paths, hosts or secrets: the endpoint is open to everybody. */
  readonly message: string;
}

/** One look serves everybody who asks within this time, so that the endpoint cannot be used to wear out the disk. */
const KEEP_MILLISECONDS = 1000;
const PROBE_MILLISECONDS_MAX = 5000;

export interface ReadinessDependencies {
  readonly blobs: Pick<BlobStore, 'probe' | 'space'>;
  readonly meta: Pick<MetaStore, 'probe'>;
  readonly reserveBytes: number;
  readonly clock: Clock;
  /** Whether an operator wants no more requests to come here. */
  readonly isDraining: () => Promise<boolean>;
  readonly log: ReturnType<Telemetry['logger']>;
}

export function createReadiness(deps: ReadinessDependencies): () => Promise<Readiness> {
  let current: Promise<Readiness> | null = null;
  let lookedAt = 0;
  let pending = false;
  return () => {
    const now = deps.clock.now();
    if (current === null || (!pending && Math.abs(now - lookedAt) >= KEEP_MILLISECONDS)) {
      lookedAt = now;
      pending = true;
      current = look(deps).finally(() => {
        pending = false;
      });
    }
    return current;
  };
}

async function look(deps: ReadinessDependencies): Promise<Readiness> {
  const signal = AbortSignal.timeout(PROBE_MILLISECONDS_MAX);
  const parts = await Promise.all([
    probePart(deps, 'blob store', () => within(deps.blobs.probe(signal), signal)),
    probePart(deps, 'meta store', () => within(deps.meta.probe(signal), signal)),
    lookAtSpace(deps),
    lookAtNode(deps, signal),
  ]);
  return { ok: parts.every((part) => part.ok), parts };
}

async function probePart(
  { log }: ReadinessDependencies,
  name: ReadinessPart['name'],
  probe: () => Promise<void>,
): Promise<ReadinessPart> {
  try {
    await probe();
    return { name, ok: true, message: 'can be read and written' };
  } catch (error) {
    log.error({ err: error, part: name }, 'not ready');
    return { name, ok: false, message: 'cannot be written to right now; the log says why' };
  }
}

async function lookAtSpace({ blobs, reserveBytes, log }: ReadinessDependencies): Promise<ReadinessPart> {
  const name = 'free space';
  if (blobs.space === null) return { name, ok: true, message: 'not limited by a device' };
  try {
    const { freeBytes } = await blobs.space();
    if (freeBytes >= reserveBytes) return { name, ok: true, message: 'above the reserve' };
    const message = `below the reserve of ${formatByteSize(reserveBytes)}: pulls work, new uploads are refused`;
    return { name, ok: false, message };
  } catch (error) {
    log.error({ err: error, part: name }, 'not ready');
    return { name, ok: false, message: 'cannot be told; the log says why' };
  }
}

async function lookAtNode(
  { isDraining }: ReadinessDependencies,
  signal: AbortSignal,
): Promise<ReadinessPart> {
  const name = 'node';
  try {
    const draining = await within(isDraining(), signal);
    return { name, ok: !draining, message: draining ? 'drains, as it was told to' : 'serves' };
  } catch {
    return { name, ok: false, message: 'cannot be told: the meta store does not answer' };
  }
}

/** A device that hangs does not heed the signal. */
function within<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    work.then(resolve, reject);
  });
}
