import { LedgerTooNew } from '../meta/errors.ts';
import type { LedgerClock } from '../meta/ledger-clock.ts';
import type { MetaStore } from '../meta/meta-store.ts';
import { schemaVersion } from '../meta/migrations/index.ts';
import { readVersion } from '../std/version.ts';
import type { Logger } from '../telemetry/telemetry.ts';

const EVERY_MILLISECONDS = 3_000;
/** Alone on its machine nobody waits for the news, and each report is a write to its disk. */
const EVERY_MILLISECONDS_ALONE = 60_000;
/** Reports that may be missing before a node counts as gone. */
const REPORTS_MISSING_MAX = 4;
const GONE_SHOWN_MILLISECONDS = 60 * 60 * 1000;
/** Nodes whose clocks differ by more have something wrong with them, though the registry goes by the ledger's. */
const SKEW_MILLISECONDS_MAX = 2_000;
const LIGHT = { durable: false, concurrent: true };

export interface NodeReporterOptions {
  readonly meta: MetaStore;
  readonly clock: LedgerClock;
  readonly log: Logger;
  readonly id: string;
  readonly name: string;
}

/** Keeps this node's row in the ledger, from when it listens until it has stopped. */
export class NodeReporter {
  readonly #options: NodeReporterOptions;
  readonly #everyMillis: number;
  readonly #startedAt: number;
  #addresses: readonly string[] = [];
  #onTooNew: (error: LedgerTooNew) => void = () => {};
  #timer: NodeJS.Timeout | null = null;
  #reporting: Promise<void> | null = null;
  #unsubscribe: () => void = () => {};
  #isDraining = false;
  #isSkewed = false;
  #hasFailed = false;

  constructor(options: NodeReporterOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
    this.#everyMillis = options.meta.now === null ? EVERY_MILLISECONDS_ALONE : EVERY_MILLISECONDS;
  }

  /**
   * Resolves after the first report, gone well or not. `onTooNew` hears when a newer program has changed the schema so that
   * this one cannot go on.
   */
  async start(addresses: readonly string[], onTooNew: (error: LedgerTooNew) => void): Promise<void> {
    const { meta, id } = this.#options;
    this.#addresses = addresses;
    this.#onTooNew = onTooNew;
    this.#unsubscribe = meta.notices.subscribe((notice) => {
      if (notice.kind === 'node_changed' && notice.id === id) void this.report();
    });
    this.#timer = setInterval(() => void this.report(), this.#everyMillis);
    await this.report();
  }

  /** The row goes with the node; where it cannot be removed it is shown as gone. */
  async stop(): Promise<void> {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#unsubscribe();
    await this.#reporting;
    const { meta, id } = this.#options;
    await meta.transaction((tx) => tx.nodes.remove(id), LIGHT).catch(() => {});
  }

  /** One at a time; never rejects. */
  report(): Promise<void> {
    this.#reporting ??= this.#report().finally(() => {
      this.#reporting = null;
    });
    return this.#reporting;
  }

  async #report(): Promise<void> {
    const { meta, clock, id, name, log } = this.#options;
    const skewMillis = Math.round(clock.skewMillis());
    const node = {
      id,
      name,
      version: readVersion(),
      schemaVersion,
      addresses: this.#addresses,
      startedAt: this.#startedAt,
      skewMillis,
    };
    try {
      await meta.requireSchema?.();
      const { draining } = await meta.transaction(async (tx) => {
        await tx.nodes.expire(GONE_SHOWN_MILLISECONDS);
        return tx.nodes.report(node, REPORTS_MISSING_MAX * this.#everyMillis, this.#isDraining);
      }, LIGHT);
      if (this.#hasFailed) log.info('the node is in the ledger again');
      this.#hasFailed = false;
      this.#noteDraining(draining);
      this.#noteSkew(skewMillis);
    } catch (error) {
      if (error instanceof LedgerTooNew) this.#onTooNew(error);
      if (!this.#hasFailed) log.warn({ err: error }, 'the node could not report to the ledger');
      this.#hasFailed = true;
    }
  }

  #noteDraining(draining: boolean): void {
    if (draining === this.#isDraining) return;
    this.#isDraining = draining;
    this.#options.log.info(draining ? 'draining: not ready, takes no job' : 'serving again');
  }

  #noteSkew(skewMillis: number): void {
    const isSkewed = Math.abs(skewMillis) > SKEW_MILLISECONDS_MAX;
    if (isSkewed && !this.#isSkewed) {
      this.#options.log.warn({ skewMillis }, "this machine's clock differs from the database's");
    }
    this.#isSkewed = isSkewed;
  }
}
