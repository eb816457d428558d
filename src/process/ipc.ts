import type { ConfiguredPeople } from '../access/user-directory.ts';
import type { Config } from '../config/config.ts';
import type { ExitCode } from '../std/exit-codes.ts';

/**
 * What the primary and its children say to each other, over the channel that Node opens with a child. Secrets travel here
 * and nowhere else: environment and arguments of a process can be read by others. `serialization: 'advanced'` carries maps.
 */

/** All that a child needs to begin. */
export interface StartOrder {
  readonly kind: 'start';
  readonly role: string;
  readonly config: Config;
  readonly people: ConfiguredPeople;
  /** The same for all processes of this run. */
  readonly runId: string;
  /** Whether this worker does the jobs, too (memory backend: there is only one process that has the bytes). */
  readonly runsJobs: boolean;
}

/** What may change while the program runs. */
export interface Reloadable {
  readonly people: ConfiguredPeople;
  readonly filter: string;
}

export type ToChild =
  | StartOrder
  | ({ readonly kind: 'reload'; readonly id: number } & Reloadable)
  | { readonly kind: 'snapshot'; readonly id: number }
  | { readonly kind: 'exposition'; readonly id: number; readonly text: string }
  | { readonly kind: 'stop'; readonly drainMilliseconds: number };

export interface Addresses {
  readonly registry: string;
  readonly console: string;
}

export type FromChild =
  /** `addresses`: of an HTTP worker. */
  | { readonly kind: 'ready'; readonly addresses: Addresses | null }
  /** It cannot begin, and another try would not go better. */
  | { readonly kind: 'failed'; readonly failure: StartupFailure }
  | { readonly kind: 'reloaded'; readonly id: number; readonly problem: string | null }
  | { readonly kind: 'snapshot'; readonly id: number; readonly snapshot: unknown }
  /** The child asks for the metrics of all processes. */
  | { readonly kind: 'exposition'; readonly id: number };

/** Why the program cannot start: a sentence for a person and a code for a service manager. */
export interface StartupFailure {
  readonly sentence: string;
  readonly exitCode: ExitCode;
}
