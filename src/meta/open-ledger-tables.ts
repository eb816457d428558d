import type { TablesDriver } from './ledger-tables.ts';
import { openMetaStore } from './open-meta-store.ts';

/** Where a ledger is, as people write it: `sqlite:/var/lib/drift/drift.db` or `postgres://user@host/drift`. */
export type LedgerPlace =
  | { readonly driver: 'sqlite'; readonly file: string }
  | { readonly driver: 'postgres'; readonly url: string };

/** Null for what is neither. */
export function parseLedgerPlace(text: string): LedgerPlace | null {
  if (/^sqlite:\/\/\/|^sqlite:(?!\/\/)./.test(text)) {
    return { driver: 'sqlite', file: text.replace(/^sqlite:(\/\/)?/, '') };
  }
  if (/^postgres(ql)?:\/\//.test(text) && URL.canParse(text)) return { driver: 'postgres', url: text };
  return null;
}

/** Limits of the one connection that checks or makes a schema. */
const connectSecondsMax = 10;
const querySecondsMax = 60;

export interface OpenLedgerTablesOptions {
  /** `write` makes the schema where there is none, with so many parts of each large table (PostgreSQL). */
  readonly intent: 'read' | 'write';
  readonly partitions: number;
}

/** Checks that the schema is ours first. Whose file it is, is the caller's concern. Throws `LedgerError` and `Unavailable`. */
export async function openLedgerTables(
  place: LedgerPlace,
  options: OpenLedgerTablesOptions,
): Promise<TablesDriver> {
  const { intent, partitions } = options;
  const store = await openMetaStore(configOf(place, partitions), {
    mode: intent === 'write' ? 'migrate' : 'read',
  });
  await store.close();
  return openTables(place, intent);
}

/** What is there, whatever its schema, and whoever serves it. */
export async function openTables(place: LedgerPlace, intent: 'read' | 'write'): Promise<TablesDriver> {
  if (place.driver === 'postgres') {
    const { openPostgresTables } = await import('./postgres/postgres-tables.ts');
    return openPostgresTables(place.url);
  }
  const { openSqliteTables } = await import('./sqlite/sqlite-tables.ts');
  return openSqliteTables(place.file, intent);
}

function configOf(place: LedgerPlace, partitions: number): Parameters<typeof openMetaStore>[0] {
  if (place.driver === 'sqlite') {
    return { database: { backend: 'sqlite', file: place.file }, secrets: { databaseUrl: null } };
  }
  return {
    database: {
      backend: 'postgres',
      connectionsMax: 2,
      waitingMax: 10,
      connectSecondsMax,
      querySecondsMax,
      partitions,
    },
    secrets: { databaseUrl: place.url },
  };
}
