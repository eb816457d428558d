import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { readConfig } from '../../src/config/read.ts';
import { prepareData } from '../../src/process/prepare-data.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { startMinio } from '../harness/minio.ts';
import { startPostgres } from '../harness/postgres.ts';

it('a node on PostgreSQL and a bucket, started, makes no directory and takes no lock on one', async () => {
  await using postgres = await startPostgres({ durable: false });
  await using minio = await startMinio();
  const cwd = mkdtempSync(join(tmpdir(), 'drift-nowhere-'));
  try {
    const env = {
      DRIFT_DATABASE_BACKEND: 'postgres',
      DRIFT_DATABASE_URL: await postgres.createDatabase(),
      DRIFT_DATABASE_PARTITIONS: '2',
      DRIFT_STORAGE_BACKEND: 's3',
      DRIFT_S3_ENDPOINT: minio.endpoint,
      DRIFT_S3_REGION: minio.region,
      DRIFT_S3_BUCKET: await minio.createBucket(),
      DRIFT_S3_ACCESS_KEY: minio.accessKey,
      DRIFT_S3_SECRET_KEY: minio.secretKey,
    };
    const { config } = readConfig({ env, flags: {}, cwd });
    const data = await prepareData(config, createMetrics({ version: 'test' }));
    await data.close();
    assert.deepEqual(readdirSync(cwd), []);
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
});
