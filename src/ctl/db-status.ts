import { existsSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import type { AppliedMigration } from '../meta/ledger-tables.ts';
import { migrations, schemaVersion } from '../meta/migrations/index.ts';
import { type LedgerPlace, openTables } from '../meta/open-ledger-tables.ts';
import { EXIT, type ExitCode } from '../std/exit-codes.ts';
import type { ConfigCommandArgs } from './config-check.ts';
import { onStoredData } from './stored-data.ts';

/** `drift db status`: which schema the ledger has and whether this program can work with it. Changes nothing. */
export async function runDbStatus(args: ConfigCommandArgs): Promise<ExitCode> {
  return onStoredData(args, async (config) => {
    const place = placeOf(config);
    const { name, applied } = await look(place);
    const { sentence, isReady } = judge(applied);
    const lines = applied.map(
      ({ version, name: title, appliedAt }) =>
        `  ${String(version).padStart(3)}  ${new Date(appliedAt).toISOString()}  ${title}\n`,
    );
    args.stdout.write(`${name}\n${lines.join('')}${sentence}\n`);
    return isReady ? EXIT.OK : EXIT.FAILED;
  });
}

async function look(place: LedgerPlace): Promise<{ name: string; applied: readonly AppliedMigration[] }> {
  if (place.driver === 'sqlite' && !existsSync(place.file)) {
    return { name: `sqlite:${place.file}`, applied: [] };
  }
  const tables = await openTables(place, 'read');
  try {
    return { name: tables.place, applied: await tables.schema() };
  } finally {
    await tables.close();
  }
}

function placeOf({ database, secrets }: Config): LedgerPlace {
  return database.backend === 'sqlite'
    ? { driver: 'sqlite', file: database.file }
    : { driver: 'postgres', url: secrets.databaseUrl ?? '' };
}

function judge(applied: readonly AppliedMigration[]): {
  readonly sentence: string;
  readonly isReady: boolean;
} {
  const version = applied.at(-1)?.version ?? 0;
  const newer = applied.filter((migration) => migration.version > schemaVersion);
  if (newer.some(({ compatibleFrom }) => compatibleFrom > schemaVersion)) {
    const sentence = `Schema ${version} is too new: this program knows ${schemaVersion}. Use a newer one.`;
    return { sentence, isReady: false };
  }
  if (newer.length > 0) {
    const sentence = `Schema ${version} is newer than this program's ${schemaVersion}, which may go on beside newer ones.`;
    return { sentence, isReady: true };
  }
  const missing = migrations.filter((migration) => migration.version > version);
  if (missing.length === 0) {
    return { sentence: `Schema ${version} is what this program needs.`, isReady: true };
  }
  const names = missing.map((migration) => migration.name).join(', ');
  const sentence = `Schema ${version} lacks ${names}: run "drift db migrate", or start "drift serve".`;
  return { sentence, isReady: false };
}
