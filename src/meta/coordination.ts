import type { UploadId } from '../blobs/blob-store.ts';

/** Something that happened in the ledger and that somebody elsewhere may be waiting for. */
export type Notice =
  /** A request waits for this upload: its holder should let go. */
  | { readonly kind: 'upload_wanted'; readonly id: UploadId }
  /** An upload that somebody waited for is free, or gone. */
  | { readonly kind: 'upload_freed'; readonly id: UploadId }
  /** Its holder gave it back before its work was done. */
  | { readonly kind: 'lease_freed'; readonly name: string }
  /** A node is to drain, or to serve again. */
  | { readonly kind: 'node_changed'; readonly id: string };

export interface Notices {
  /**
   * Calls `handler` with each notice that this or another process published, if it arrives at all; the answer ends that. A
   * ledger without a way to tell other processes calls nobody.
   */
  subscribe(handler: (notice: Notice) => void): () => void;
}

/** Leases end by the ledger's clock: those of the nodes may differ. Durations are in milliseconds. */
export interface LeaseWrites {
  /**
   * The fence number when the lease is ours for so long from now, `null` when another holds it or it rests. Renewing keeps
   * the fence.
   */
  take(name: string, holder: string, leaseMillis: number): Promise<number | null>;
  /** Gives it back; nobody takes it within `restMillis`. */
  free(name: string, holder: string, restMillis: number): Promise<void>;
  /**
   * Whether nobody took the lease after the holder with this fence. Then nobody does before this transaction ends: what it
   * writes was written by the only holder, however long that one stood still before.
   */
  isCurrent(name: string, fence: number): Promise<boolean>;
}

/** One run of the program with everything it started. */
export interface NodeReport {
  /** Another one for each run. */
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly schemaVersion: number;
  /** Where its listeners are. */
  readonly addresses: readonly string[];
  readonly startedAt: number;
  /** Its machine's clock minus the ledger's. */
  readonly skewMillis: number;
}

export interface RegisteredNode extends NodeReport {
  readonly seenAt: number;
  /** `gone`: it did not report when it should have. */
  readonly state: 'serving' | 'draining' | 'gone';
}

export interface NodeReads {
  /** By name, the longest running first. */
  list(): Promise<readonly RegisteredNode[]>;
  /** False as well for one that is not known. */
  isDraining(id: string): Promise<boolean>;
}

export interface NodeWrites {
  /**
   * Notes that the node lives, until `seenForMillis` from now by the ledger's clock; whether it is to drain. `draining` is
   * what it knew, should its row be gone.
   */
  report(node: NodeReport, seenForMillis: number, draining: boolean): Promise<{ readonly draining: boolean }>;
  /** False when there is no such node. */
  setDraining(id: string, draining: boolean): Promise<boolean>;
  remove(id: string): Promise<void>;
  /** Removes those that have not been seen for so long. */
  expire(unseenMillis: number): Promise<void>;
}
