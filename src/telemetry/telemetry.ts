import type { Logger } from 'pino';

export type { Logger } from 'pino';

/** What a part of the program needs to tell the outside. Handed in, never imported as a singleton. */
export interface Telemetry {
  /** A logger per subsystem: `http`, `access`, `blobs`, `meta`, `jobs`, `process`. */
  logger(subsystem: Subsystem): Logger;
  /** An `info` line whose fields are JSON already (`"a":1,"b":"c"`). Ask the subsystem's logger first whether it writes such. */
  writeLine(subsystem: Subsystem, fields: string, message: string): void;
  readonly metrics: Metrics;
}

export type Subsystem = 'process' | 'http' | 'access' | 'registry' | 'blobs' | 'meta' | 'jobs';

export type TierEvent =
  | 'read_hot'
  | 'read_cold'
  | 'read_followed'
  | 'filled'
  | 'fill_failed'
  | 'copy_skipped'
  | 'rotten'
  | 'hot_failed'
  | 'evicted'
  | 'sent'
  | 'send_failed'
  | 'backlog_full';

/** Labels come from closed sets only: never a repository, tag, user or address. */
export interface Metrics {
  requestFinished(sample: {
    readonly route: string;
    readonly method: string;
    readonly status: number;
    readonly seconds: number;
    readonly bytesIn: number;
    readonly bytesOut: number;
  }): void;
  uploadStarted(): void;
  uploadEnded(): void;
  storeOperation(driver: string, operation: string, outcome: 'ok' | 'error', seconds: number): void;
  metaOperation(
    driver: string,
    operation: 'read' | 'transaction' | 'sync',
    outcome: 'ok' | 'error',
    seconds: number,
  ): void;
  /** Something that the tiers of the blob store did. */
  tier(event: TierEvent): void;
  /** What only this machine has and the cold tier is to get. */
  tierBacklog(blobs: number, bytes: number): void;
  /** What may be evicted. */
  tierCopies(blobs: number, bytes: number): void;
  login(outcome: 'ok' | 'wrong' | 'slowed'): void;
  /** Prometheus text of this process alone. */
  exposition(): Promise<string>;
  /** The same as data, to be merged over processes by the primary. */
  snapshot(): Promise<unknown>;
}
