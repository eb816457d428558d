import { randomBytes } from 'node:crypto';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { Service } from './service.ts';

/** An S3 server on loopback. Path style, plain HTTP unless its starter says otherwise, the region `us-east-1`. */
export interface S3Service extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, or `https`. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** Makes an empty bucket, by default with a name that nobody has; resolves with the name. */
  createBucket(name?: string): Promise<string>;
  /** A client that looks at the service from beside the registry, by another address if one is given. The caller destroys it. */
  openClient(options?: { readonly endpoint: string }): S3Client;
  /** SIGKILL; `start` brings it back with the same data at the same address. */
  kill(): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Until `resume` it takes connections and answers none. */
  pause(): void;
  resume(): void;
}

export const S3_REGION = 'us-east-1';
export const S3_ACCESS_KEY = 'drift-tests';
export const S3_SECRET_KEY = 'drift-tests-secret';

/** The service, started, as an S3 server at this port. */
export async function startS3Service(
  service: Service,
  port: number,
  scheme: 'http' | 'https' = 'http',
): Promise<S3Service> {
  await service.start();
  const endpoint = `${scheme}://127.0.0.1:${port}`;
  const openClient: S3Service['openClient'] = (options) =>
    new S3Client({
      endpoint: options?.endpoint ?? endpoint,
      region: S3_REGION,
      forcePathStyle: true,
      credentials: { accessKeyId: S3_ACCESS_KEY, secretAccessKey: S3_SECRET_KEY },
      // Whom the registry trusts is what tests are about, not whom its observer does.
      requestHandler: { httpsAgent: { rejectUnauthorized: false } },
    });
  return {
    endpoint,
    region: S3_REGION,
    accessKey: S3_ACCESS_KEY,
    secretKey: S3_SECRET_KEY,
    openClient,
    createBucket: async (name = `drift-${randomBytes(6).toString('hex')}`) => {
      const client = openClient();
      try {
        await client.send(new CreateBucketCommand({ Bucket: name }));
      } finally {
        client.destroy();
      }
      return name;
    },
    kill: () => service.kill(),
    stop: () => service.stop(),
    start: () => service.start(),
    pause: () => service.pause(),
    resume: () => service.resume(),
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  };
}
