import { HOUR, key, MINUTE } from './key.ts';
import { choice, duration, integer, path, postgresUrl, postgresUrls } from './value-types.ts';

/** Where everything else is kept: `[database]`. */
export const DATABASE_KEYS = {
  databaseBackend: key<'sqlite' | 'postgres'>({
    path: 'database.backend',
    env: ['DRIFT_DATABASE_BACKEND'],
    type: choice({
      words: ['sqlite', 'postgres'],
      spellings: { postgresql: 'postgres' },
      refused: { zqlite: 'zqlite' },
    }),
    fallback: () => 'sqlite',
    doc: 'Where names, tags and rights are kept. `sqlite`: a file on this machine; `postgres`: a server (15 or newer) that any number of nodes share.',
  }),
  databaseUrl: key<string | null>({
    path: 'database.url',
    aliases: ['database.postgres_url'],
    env: ['DRIFT_DATABASE_URL', 'DRIFT_DATABASE_POSTGRES_URL'],
    type: postgresUrl(),
    fallback: () => null,
    fallbackText: 'none: `database.backend = "postgres"` needs it',
    doc: 'The PostgreSQL database: `postgres://user:password@host:5432/drift`, with `?sslmode=verify-full&sslrootcert=…` for TLS. A pooler in transaction mode (PgBouncer) may stand before it.',
    secret: true,
  }),
  databaseReplicaUrls: key<readonly string[]>({
    path: 'database.replica_urls',
    env: ['DRIFT_DATABASE_REPLICA_URLS'],
    type: postgresUrls(),
    fallback: () => [],
    doc: 'Streaming replicas of the PostgreSQL database, each the address of one server. They answer lists (tags, catalog, referrers) once they have replayed all that was committed before; else the primary does.',
    secret: true,
  }),
  databaseListenUrl: key<string | null>({
    path: 'database.listen_url',
    env: ['DRIFT_DATABASE_LISTEN_URL'],
    type: postgresUrl(),
    fallback: () => null,
    fallbackText: '`database.url`',
    doc: 'The same database without a pooler between. Processes listen there for news of each other (`LISTEN`), which a pooler in transaction mode does not pass on. Without it they poll, and react up to a second later.',
    secret: true,
  }),
  databaseConnections: key<number>({
    path: 'database.connections',
    env: ['DRIFT_DATABASE_CONNECTIONS'],
    type: integer({ min: 2, max: 1_000 }),
    fallback: () => 10,
    doc: 'Connections to PostgreSQL, per process (workers, jobs process, primary); they are opened as they are needed.',
  }),
  databaseWaiting: key<number>({
    path: 'database.waiting',
    env: ['DRIFT_DATABASE_WAITING'],
    type: integer({ min: 1, max: 100_000 }),
    fallback: () => 1_000,
    doc: 'Requests that may wait for a connection to PostgreSQL, per process; more of them are answered 503.',
  }),
  databaseConnectTime: key<number>({
    path: 'database.connect_time',
    env: ['DRIFT_DATABASE_CONNECT_TIME'],
    type: duration({ min: 1, max: MINUTE }),
    fallback: () => 3,
    doc: 'How long a connection to PostgreSQL may take, and a request wait for one.',
  }),
  databaseQueryTime: key<number>({
    path: 'database.query_time',
    env: ['DRIFT_DATABASE_QUERY_TIME'],
    type: duration({ min: 1, max: HOUR }),
    fallback: () => 10,
    doc: 'How long one statement may take in PostgreSQL before its request is answered 503.',
  }),
  databasePartitions: key<number>({
    path: 'database.partitions',
    env: ['DRIFT_DATABASE_PARTITIONS'],
    type: integer({ min: 1, max: 1_024 }),
    fallback: () => 16,
    doc: 'Parts into which PostgreSQL divides each of the large tables. Fixed when the schema is made.',
  }),
  ledger: key<string | null>({
    path: 'database.sqlite_path',
    env: ['DRIFT_DATABASE_SQLITE_PATH'],
    type: path<string | null>(),
    fallback: () => null,
    fallbackText: '`drift.db` in `storage.fs_root`',
    doc: 'The database file.',
  }),
} as const;
