import { requireTool } from '../../scripts/tools.ts';
import { freePort } from './free-port.ts';
import { S3_ACCESS_KEY, S3_SECRET_KEY, type S3Service, startS3Service } from './s3-service.ts';
import { Service } from './service.ts';

/** A real MinIO with one drive. */
export async function startMinio(): Promise<S3Service> {
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const service = new Service({
    name: 'minio',
    command: (home) => [requireTool('minio'), 'server', '--quiet', '--address', address, `${home}/drive`],
    env: {
      MINIO_ROOT_USER: S3_ACCESS_KEY,
      MINIO_ROOT_PASSWORD: S3_SECRET_KEY,
      MINIO_BROWSER: 'off',
      MINIO_UPDATE: 'off',
    },
    answers: async () => (await fetch(`http://${address}/minio/health/ready`)).ok,
  });
  return startS3Service(service, port);
}
