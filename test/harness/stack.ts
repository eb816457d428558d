import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import type { Config } from '../../src/config/config.ts';
import { openMetaStore } from '../../src/meta/open-meta-store.ts';
import { startMinio } from './minio.ts';
import { type Postgres, startPostgres } from './postgres.ts';
import type { S3Service } from './s3-service.ts';

/** True in the suites that run again on PostgreSQL and S3, where every request lands at the next of several nodes. */
export const ON_NODES = process.env.STACK === 'nodes';
export const NODES = 3;

/** What the nodes share, each of it empty. They know nothing else of each other. */
export interface SharedStores {
  readonly databaseUrl: string;
  readonly s3: Pick<S3Service, 'endpoint' | 'region' | 'accessKey' | 'secretKey'> & {
    readonly bucket: string;
  };
}

interface Services {
  readonly postgres: Postgres;
  readonly minio: S3Service;
}

let services: Promise<Services> | null = null;
let template: Promise<string> | null = null;

/** Started when a test file first needs them; they end with its process. */
function startServices(): Promise<Services> {
  services ??= (async () => {
    const [postgres, minio] = await Promise.all([startPostgres({ durable: false }), startMinio()]);
    return { postgres, minio };
  })();
  return services;
}

/** A database without tables, and a bucket. */
export async function createStores(): Promise<SharedStores> {
  const { postgres, minio } = await startServices();
  const [databaseUrl, bucket] = await Promise.all([postgres.createDatabase(), minio.createBucket()]);
  return { databaseUrl, s3: { ...minio, bucket } };
}

/** A database with its tables, copied from one that was migrated once, and a bucket: `configOf` reads the environment. */
export async function createMigratedStores(
  configOf: (env: StoreEnvironment) => Config,
): Promise<SharedStores> {
  const { postgres, minio } = await startServices();
  const bucket = await minio.createBucket();
  template ??= (async () => {
    const databaseUrl = await postgres.createDatabase();
    const config = configOf(storeEnvironment({ databaseUrl, s3: { ...minio, bucket } }));
    await (await openMetaStore(config, { mode: 'migrate' })).close();
    return databaseUrl;
  })();
  const databaseUrl = await postgres.createDatabase({ template: await template });
  return { databaseUrl, s3: { ...minio, bucket } };
}

const SETTINGS = new URL('../../deploy/scale-out.env', import.meta.url);

export type StoreEnvironment = Readonly<Record<string, string>>;

/** The settings that operators get, with stores of here. */
export function storeEnvironment({ databaseUrl, s3 }: SharedStores): StoreEnvironment {
  return {
    ...(parseEnv(readFileSync(SETTINGS, 'utf8')) as StoreEnvironment),
    DRIFT_DATABASE_URL: databaseUrl,
    DRIFT_S3_ENDPOINT: s3.endpoint,
    DRIFT_S3_REGION: s3.region,
    DRIFT_S3_BUCKET: s3.bucket,
    DRIFT_S3_ACCESS_KEY: s3.accessKey,
    DRIFT_S3_SECRET_KEY: s3.secretKey,
  };
}
