import type { Fence } from '../registry/fence.ts';

/** Work that is done again and again while the registry serves. */
export interface Job {
  /** Also the name of its lease. */
  readonly name: string;
  /** From the end of one run to the beginning of the next. */
  readonly intervalSeconds: number;
  /**
   * `everywhere`: one process at a time over all nodes, by a lease in the ledger. `here`: each node for itself, as it is
   * about something that only this machine has.
   */
  readonly scope: 'everywhere' | 'here';
  /**
   * What it did, for the log; null when there was nothing to do. `everywhere`: each transaction that writes calls `fence`
   * first, and what is done outside the ledger does no harm when it comes late, after another node has begun.
   */
  run(signal: AbortSignal, fence: Fence): Promise<Readonly<Record<string, number>> | null>;
}
