import { dirname, resolve } from 'node:path';
import { copyLedger, type TablesDriver, TargetNotEmpty } from '../meta/ledger-tables.ts';
import { type LedgerPlace, openLedgerTables, parseLedgerPlace } from '../meta/open-ledger-tables.ts';
import { lockDirectory } from '../process/lock-directory.ts';
import { startupFailure } from '../process/startup-errors.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import type { ConfigCommandArgs } from './config-check.ts';

export interface DbCopyFlags {
  readonly from: string;
  readonly to: string;
  readonly force: boolean;
  readonly partitions: number;
}

/** `drift db copy`: the whole ledger into another database, count and checksum of each table compared. All or nothing. */
export async function runDbCopy(
  args: Pick<ConfigCommandArgs, 'stdout' | 'stderr'>,
  flags: DbCopyFlags,
): Promise<ExitCode> {
  const [from, to] = [parseLedgerPlace(flags.from), parseLedgerPlace(flags.to)];
  for (const [name, place] of [
    ['--from', from],
    ['--to', to],
  ] as const) {
    if (place !== null) continue;
    args.stderr.write(
      `drift: ${name} must be sqlite:/path/to/drift.db or postgres://user:password@host:5432/drift.\n`,
    );
    return EXIT.USAGE;
  }
  if (from === null || to === null) return EXIT.USAGE;
  try {
    return await withBoth(from, to, flags, (source, target) => copy(args, source, target, flags.force));
  } catch (error) {
    if (error instanceof TargetNotEmpty) {
      args.stderr.write(`drift: ${error.message}. With --force it is replaced by the copy.\n`);
      return EXIT.USAGE;
    }
    const failure = startupFailure(error);
    if (failure === null) throw error;
    args.stderr.write(`drift: ${failure.sentence}\n`);
    return failure.exitCode;
  }
}

async function withBoth(
  from: LedgerPlace,
  to: LedgerPlace,
  { partitions }: DbCopyFlags,
  work: (source: TablesDriver, target: TablesDriver) => Promise<ExitCode>,
): Promise<ExitCode> {
  const undo: (() => Promise<void>)[] = [];
  try {
    // What somebody wrote while we copy would be lost.
    for (const directory of directoriesOf([from, to])) {
      const lock = await lockDirectory(directory);
      undo.push(() => lock.release());
    }
    const source = await openLedgerTables(from, { intent: 'read', partitions });
    undo.push(() => source.close());
    const target = await openLedgerTables(to, { intent: 'write', partitions });
    undo.push(() => target.close());
    return await work(source, target);
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

function directoriesOf(places: readonly LedgerPlace[]): ReadonlySet<string> {
  return new Set(
    places.flatMap((place) => (place.driver === 'sqlite' ? [dirname(resolve(place.file))] : [])),
  );
}

async function copy(
  { stdout, stderr }: Pick<ConfigCommandArgs, 'stdout' | 'stderr'>,
  source: TablesDriver,
  target: TablesDriver,
  replace: boolean,
): Promise<ExitCode> {
  const { isEqual } = await copyLedger(source, target, {
    replace,
    report: ({ table, rows, checksum, isEqual: same }) => {
      const verdict = same ? 'same' : 'DIFFERS';
      stdout.write(`${table.padEnd(20)} ${String(rows).padStart(12)} rows  ${checksum}  ${verdict}\n`);
    },
  });
  if (!isEqual) {
    stderr.write(`drift: what was read back from ${target.place} differs: nothing was kept there.\n`);
    return EXIT.FAILED;
  }
  stdout.write(`${source.place} was copied to ${target.place}. Its blobs stay where they are.\n`);
  return EXIT.OK;
}
