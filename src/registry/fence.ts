import type { MetaTransaction } from '../meta/meta-store.ts';

/**
 * Called in each transaction of work that one process at a time may do: throws `LeaseLost`, so that nothing of it is written,
 * when another process has begun with that work meanwhile. A process may stand still for any time between two statements
 * (a stopped machine, a full swap): no clock of its own can tell it that it still is the one.
 */
export type Fence = (tx: Pick<MetaTransaction, 'leases'>) => Promise<void>;

export class LeaseLost extends Error {
  constructor(name: string) {
    super(`the lease ${name} was lost`);
    this.name = 'LeaseLost';
  }
}

/** Of work that needs no lease. */
export const noFence: Fence = async () => {};
