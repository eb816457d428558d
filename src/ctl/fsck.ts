import { openBlobStore } from '../blobs/open-blob-store.ts';
import type { Config } from '../config/config.ts';
import { openMetaStore } from '../meta/open-meta-store.ts';
import { fsck } from '../registry/fsck.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import { readVersion } from '../std/version.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import type { ConfigCommandArgs } from './config-check.ts';
import { onStoredData } from './stored-data.ts';

/** `drift fsck`: the database's own check, then ledger against vault, both ways. Changes nothing. */
export async function runFsck(
  args: ConfigCommandArgs,
  options: { readonly rehash: boolean },
): Promise<ExitCode> {
  return onStoredData(args, (config) => check(args, config, options.rehash));
}

async function check(args: ConfigCommandArgs, config: Config, rehash: boolean): Promise<ExitCode> {
  const metrics = createMetrics({ version: readVersion() });
  const meta = await openMetaStore(config, { mode: 'read' });
  const counts = { damage: 0, waste: 0 };
  try {
    const blobs = await openBlobStore({ metrics }, config);
    for (const sentence of await meta.integrity()) {
      counts.damage += 1;
      args.stdout.write(`damage: the database: ${sentence}\n`);
    }
    const { signal } = new AbortController();
    for await (const finding of fsck({ meta, blobs }, { rehash, signal })) {
      counts[finding.severity] += 1;
      args.stdout.write(`${finding.severity}: ${finding.message}\n`);
    }
    await blobs.close();
  } finally {
    await meta.close();
  }
  args.stdout.write(
    counts.damage + counts.waste === 0
      ? 'Ledger and blobs agree.\n'
      : `${counts.damage} damaged, ${counts.waste} wasted.\n`,
  );
  return counts.damage === 0 ? EXIT.OK : EXIT.FAILED;
}
