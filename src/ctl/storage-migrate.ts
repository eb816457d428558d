import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBothStores } from '../blobs/open-blob-store.ts';
import type { Config } from '../config/config.ts';
import { type LeaseDependencies, type Turn, withLease } from '../jobs/lease.ts';
import { openMetaStore } from '../meta/open-meta-store.ts';
import {
  countToMove,
  endLeftUploads,
  type MoveDeps,
  moveBlobs,
  removeLeftBehind,
} from '../registry/move-blobs.ts';
import { systemClock } from '../std/clock.ts';
import { formatDuration } from '../std/duration.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import { readVersion } from '../std/version.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import type { ConfigCommandArgs } from './config-check.ts';
import { onStoredData } from './stored-data.ts';

export interface StorageMigrateFlags {
  readonly to: string;
  /** Blobs at a time. */
  readonly parallel: number;
  /** Seconds that old bytes stay after their blob has moved: somebody may still be reading them. */
  readonly grace: number;
}

/** How long another run is waited for: one that died holds its turn for less. */
const TURN_MILLISECONDS_MAX = 20_000;
const TURN_POLL_MILLISECONDS = 250;
const PROGRESS_MILLISECONDS = 2_000;
/** Old bytes removed between two looks at the clock. */
const REMOVE_MAX = 200;

/** `drift storage migrate`: blobs from `storage.migrate_from` to `storage.backend`, while the registry serves. */
export async function runStorageMigrate(
  args: ConfigCommandArgs,
  flags: StorageMigrateFlags,
): Promise<ExitCode> {
  const stopping = new AbortController();
  const onSignal = (): void => {
    // The second time nobody wants to wait for a store that does not answer; what is half copied is withdrawn later.
    if (stopping.signal.aborted) process.exit(EXIT.FAILED);
    stopping.abort(new Error('stopped'));
  };
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, onSignal);
  try {
    return await onStoredData(args, (config) => migrate(args, config, { ...flags, signal: stopping.signal }));
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    args.stdout.write('Stopped. What has moved has moved; the same command goes on.\n');
    return EXIT.FAILED;
  } finally {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, onSignal);
  }
}

async function migrate(
  args: ConfigCommandArgs,
  config: Config,
  how: StorageMigrateFlags & { readonly signal: AbortSignal },
): Promise<ExitCode> {
  const { storage } = config;
  if (storage.migrateFrom === 'none' || how.to !== storage.backend) {
    args.stderr.write(
      storage.migrateFrom !== 'none' && storage.tiered?.cold === how.to
        ? `drift: blobs move to the tiers before "${how.to}": run this with --to tiered.\n`
        : `drift: to move blobs to "${how.to}", set storage.backend = "${how.to}" and storage.migrate_from to the store where they are now, and restart the registry: it then serves from both. Then run this again.\n`,
    );
    return EXIT.CONFIG;
  }
  const meta = await openMetaStore(config, { mode: 'serve' });
  try {
    const metrics = createMetrics({ version: readVersion() });
    const stores = await openBothStores({ metrics }, config);
    try {
      const holder = `storage-migrate/${randomBytes(9).toString('base64url')}`;
      const code = await inTurn({ meta, holder, nodeId: holder }, how.signal, ({ lost, fence }) => {
        const deps = { meta, ...stores, clock: systemClock, fence, reserveBytes: storage.reserveBytes };
        return moveAndRemove(args, deps, { ...how, signal: AbortSignal.any([how.signal, lost]) });
      });
      if (code !== null) return code;
      args.stderr.write('drift: blobs are being moved already, by another run of this command.\n');
      return EXIT.ALREADY_RUNNING;
    } finally {
      await stores.target.close();
      await stores.source.close();
    }
  } finally {
    await meta.close();
  }
}

/** Null when another run has it, and goes on: one that died lets go of it soon. */
async function inTurn(
  deps: LeaseDependencies,
  signal: AbortSignal,
  work: (turn: Turn) => Promise<ExitCode>,
): Promise<ExitCode | null> {
  const deadline = performance.now() + TURN_MILLISECONDS_MAX;
  for (;;) {
    const held = await withLease(deps, { name: 'storage-migrate', restMillis: 0 }, work);
    if (held !== null) return held.value;
    if (performance.now() > deadline) return null;
    await sleep(TURN_POLL_MILLISECONDS, undefined, { signal });
  }
}

type Run = StorageMigrateFlags & { readonly signal: AbortSignal };

async function moveAndRemove(
  { stdout, stderr }: ConfigCommandArgs,
  deps: MoveDeps,
  run: Run,
): Promise<ExitCode> {
  const total = await countToMove(deps, run.signal);
  const progress = new Progress(stdout, total);
  let damaged = 0;
  try {
    await moveBlobs(deps, {
      signal: run.signal,
      parallelMax: run.parallel,
      onBytes: (bytes) => progress.addBytes(bytes),
      onMoved: (moved) => {
        progress.addBlob();
        if (moved.outcome !== 'damaged') return;
        damaged += 1;
        stderr.write(`damage: blob ${moved.digest} at ${moved.from}: its bytes are missing or are others\n`);
      },
    });
  } finally {
    progress.end();
  }
  await removeOld(stdout, deps, run);
  if (damaged > 0) {
    stdout.write(
      `${damaged} damaged blobs stay where they are: delete them from their repositories, push them again, and run this again.\n`,
    );
    return EXIT.FAILED;
  }
  const left = await countToMove(deps, run.signal);
  if (left.blobs + left.unsettled > 0) {
    stdout.write(
      `${left.blobs + left.unsettled} blobs came to the old store or are not settled yet: restart every node with the new configuration, and run this again later.\n`,
    );
    return EXIT.FAILED;
  }
  const uploads = await endLeftUploads(deps, run.signal);
  if (uploads > 0)
    stdout.write(`Ended ${uploads} unfinished uploads of the old store: their clients begin again.\n`);
  stdout.write('Every blob has moved. Remove storage.migrate_from from the configuration and restart.\n');
  return EXIT.OK;
}

/** Waits for the grace period of the last one. May be cut off: the next run removes what is left. */
async function removeOld(stdout: ConfigCommandArgs['stdout'], deps: MoveDeps, run: Run): Promise<void> {
  let removed = 0;
  let told = false;
  for (;;) {
    run.signal.throwIfAborted();
    const before = Date.now() - run.grace * 1000;
    const step = await removeLeftBehind(deps, { before, limit: REMOVE_MAX });
    removed += step.removed;
    if (step.next === null) break;
    const waitMilliseconds = step.next.movedAt - (Date.now() - run.grace * 1000);
    if (waitMilliseconds <= 0) continue;
    if (!told) {
      const wait = formatDuration(run.grace);
      stdout.write(
        `Old bytes are removed ${wait} after their blob has moved; this waits, and may be stopped.\n`,
      );
      told = true;
    }
    await sleep(Math.min(waitMilliseconds + 1, PROGRESS_MILLISECONDS), undefined, { signal: run.signal });
  }
  if (removed > 0) stdout.write(`Removed the old bytes of ${removed} blobs.\n`);
}

class Progress {
  readonly #stdout: ConfigCommandArgs['stdout'];
  readonly #total: { readonly blobs: number; readonly bytes: number };
  readonly #timer: NodeJS.Timeout;
  readonly #since = performance.now();
  #blobs = 0;
  #bytes = 0;

  constructor(
    stdout: ConfigCommandArgs['stdout'],
    total: { readonly blobs: number; readonly bytes: number },
  ) {
    this.#stdout = stdout;
    this.#total = total;
    this.#tell();
    this.#timer = setInterval(() => this.#tell(), PROGRESS_MILLISECONDS);
  }

  addBytes(bytes: number): void {
    this.#bytes += bytes;
  }

  addBlob(): void {
    this.#blobs += 1;
  }

  end(): void {
    clearInterval(this.#timer);
    this.#tell();
  }

  #tell(): void {
    const { blobs, bytes } = this.#total;
    const seconds = Math.max(1, (performance.now() - this.#since) / 1000);
    const speed = mebibytes(this.#bytes / seconds);
    this.#stdout.write(
      `${this.#blobs} of ${blobs} blobs, ${mebibytes(this.#bytes)} of ${mebibytes(bytes)}, ${speed}/s\n`,
    );
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / (1024 * 1024)).toFixed(1)} MiB`;
}
