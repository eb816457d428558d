import { Unavailable } from '../../std/unavailable.ts';
import type { BlobStore } from '../blob-store.ts';

export interface FaultyStore {
  readonly store: BlobStore;
  /** Whether every call fails. */
  away: boolean;
  /** Whole reads that were begun, and reads of ranges. */
  opens: number;
  rangeOpens: number;
  /** Bodies of whole blobs stand still behind their first chunk until this is called. */
  hold(): () => void;
}

/** A real store that can be away, or slow. */
export function faulty(real: BlobStore): FaultyStore {
  let held: Promise<void> = Promise.resolve();
  const open: BlobStore['open'] = async (location, range, signal) => {
    if (range === null) control.opens += 1;
    else control.rangeOpens += 1;
    const body = await real.open(location, range, signal);
    if (body === null || range !== null) return body;
    const chunks = async function* () {
      let isFirst = true;
      for await (const chunk of body.chunks) {
        if (!isFirst) await held;
        isFirst = false;
        yield chunk;
      }
    };
    return { sizeBytes: body.sizeBytes, chunks: chunks(), close: () => body.close() };
  };
  const control: FaultyStore = {
    store: new Proxy(real, {
      get(target, name) {
        const value: unknown = name === 'open' ? open : Reflect.get(target, name, target);
        if (typeof value !== 'function' || name === 'close') return value;
        return (...args: unknown[]): unknown => {
          if (!control.away || name === 'locate') return value.apply(target, args);
          return Promise.reject(new Unavailable('blob store', 'the store is away', { retryable: true }));
        };
      },
    }),
    away: false,
    opens: 0,
    rangeOpens: 0,
    hold() {
      const gate = Promise.withResolvers<void>();
      held = gate.promise;
      return () => gate.resolve();
    },
  };
  return control;
}
