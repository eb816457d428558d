import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { requireTool } from '../../scripts/tools.ts';
import { freePort } from './free-port.ts';
import { S3_ACCESS_KEY, S3_SECRET_KEY, type S3Service, startS3Service } from './s3-service.ts';
import { Service } from './service.ts';

export interface MinioOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** It then speaks TLS; this process does not have to trust whoever issued it. */
  readonly certificate?: { readonly certificateFile: string; readonly keyFile: string };
}

/** A real MinIO with one drive. */
export async function startMinio(options: MinioOptions = {}): Promise<S3Service> {
  const port = await freePort();
  const { certificate } = options;
  const address = `127.0.0.1:${port}`;
  const service = new Service({
    name: 'minio',
    command: (home) => {
      const certificates = join(home, 'certs');
      mkdirSync(certificates, { recursive: true });
      if (certificate !== undefined) {
        copyFileSync(certificate.certificateFile, join(certificates, 'public.crt'));
        copyFileSync(certificate.keyFile, join(certificates, 'private.key'));
      }
      const places = ['--certs-dir', certificates, '--address', address, `${home}/drive`];
      return [requireTool('minio'), 'server', '--quiet', ...places];
    },
    env: {
      MINIO_ROOT_USER: S3_ACCESS_KEY,
      MINIO_ROOT_PASSWORD: S3_SECRET_KEY,
      MINIO_BROWSER: 'off',
      MINIO_UPDATE: 'off',
      ...options.env,
    },
    // A server that speaks TLS answers plain HTTP with 400.
    answers: async () =>
      (await fetch(`http://${address}/minio/health/ready`)).status ===
      (certificate === undefined ? 200 : 400),
  });
  return startS3Service(service, port, certificate === undefined ? 'http' : 'https');
}
