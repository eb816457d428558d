import { mkdirSync } from 'node:fs';
import { requireTool } from '../../scripts/tools.ts';
import { freePort } from './free-port.ts';
import { S3_ACCESS_KEY, S3_SECRET_KEY, type S3Service, startS3Service } from './s3-service.ts';
import { Service } from './service.ts';

/** The Versity S3 gateway on a directory: an S3 server that is not MinIO. */
export async function startVersitygw(): Promise<S3Service> {
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const service = new Service({
    name: 'versitygw',
    command: (home) => {
      // Attributes of objects go beside them, for file systems without extended attributes.
      for (const folder of ['buckets', 'attributes']) mkdirSync(`${home}/${folder}`, { recursive: true });
      const own = ['--port', address, '--health', '/health', '--quiet'];
      return [
        requireTool('versitygw'),
        ...own,
        'posix',
        '--sidecar',
        `${home}/attributes`,
        `${home}/buckets`,
      ];
    },
    env: { ROOT_ACCESS_KEY: S3_ACCESS_KEY, ROOT_SECRET_KEY: S3_SECRET_KEY },
    answers: async () => (await fetch(`http://${address}/health`)).ok,
  });
  return startS3Service(service, port);
}
