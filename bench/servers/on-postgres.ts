import { startMinio } from '../../test/harness/minio.ts';
import { startPostgres } from '../../test/harness/postgres.ts';
import type { S3Service } from '../../test/harness/s3-service.ts';
import { storeEnvironment } from '../../test/harness/stack.ts';
import { startDrift } from './drift.ts';
import type { Server } from './server.ts';

/** What nodes share: a PostgreSQL that waits for its disk, as a real one does, and a MinIO. */
export interface Stack {
  readonly service: S3Service;
  /** Starts of as many nodes, all on one new database and one new bucket. */
  readonly nodes: (
    count: number,
    options: { readonly name: string; readonly workers: number },
  ) => Promise<readonly (() => Promise<Server>)[]>;
}

export async function withStack<T>(use: (stack: Stack) => Promise<T>): Promise<T> {
  await using postgres = await startPostgres();
  await using service = await startMinio();
  return await use({
    service,
    nodes: async (count, options) => {
      const databaseUrl = await postgres.createDatabase();
      const bucket = await service.createBucket();
      const env = storeEnvironment({ databaseUrl, s3: { ...service, bucket } });
      return Array.from({ length: count }, () => () => startDrift({ ...options, env }));
    },
  });
}
