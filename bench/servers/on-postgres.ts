import { startMinio } from '../../test/harness/minio.ts';
import { startPostgres } from '../../test/harness/postgres.ts';
import type { S3Service } from '../../test/harness/s3-service.ts';
import { storeEnvironment } from '../../test/harness/stack.ts';
import { startDrift } from './drift.ts';
import type { Server } from './server.ts';

/** What nodes share: a PostgreSQL that waits for its disk, as a real one does, and a MinIO. */
export interface Stack {
  readonly service: S3Service;
  /** A node for each name, all on one new database and one new bucket. */
  readonly nodes: (
    names: readonly string[],
    options: { readonly workers: number },
  ) => Promise<readonly Server[]>;
}

export async function withStack<T>(use: (stack: Stack) => Promise<T>): Promise<T> {
  await using postgres = await startPostgres();
  await using service = await startMinio();
  return await use({
    service,
    nodes: async (names, { workers }) => {
      const bucket = await service.createBucket();
      const env = storeEnvironment({
        databaseUrl: await postgres.createDatabase(),
        s3: { ...service, bucket },
      });
      const started: Server[] = [];
      try {
        for (const name of names) started.push(await startDrift({ name, workers, env }));
      } catch (error) {
        await stopAll(started);
        throw error;
      }
      return started;
    },
  });
}

export async function stopAll(servers: readonly Server[]): Promise<void> {
  for (const server of servers) await server.stop();
}
