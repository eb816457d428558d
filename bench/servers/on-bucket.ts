import { startMinio } from '../../test/harness/minio.ts';
import type { S3Service } from '../../test/harness/s3-service.ts';
import { startDistribution } from './distribution.ts';
import { startDrift } from './drift.ts';
import { type Server, withServers } from './server.ts';

/** The same MinIO for all, a bucket for each. Clients are not sent there unless `redirects`. */
export async function withBucketServers<T>(
  options: { readonly redirects: boolean },
  use: (servers: readonly Server[], service: S3Service) => Promise<T>,
): Promise<T> {
  await using service = await startMinio();
  const starts = [
    () => driftOn(service, options.redirects),
    () => distributionOn(service, options.redirects),
  ];
  return await withServers(starts, (servers) => use(servers, service));
}

async function driftOn(service: S3Service, redirects: boolean): Promise<Server> {
  const bucket = await service.createBucket();
  return startDrift({
    env: {
      DRIFT_STORAGE_BACKEND: 's3',
      DRIFT_S3_ENDPOINT: service.endpoint,
      DRIFT_S3_BUCKET: bucket,
      DRIFT_S3_ACCESS_KEY: service.accessKey,
      DRIFT_S3_SECRET_KEY: service.secretKey,
      DRIFT_STORAGE_REDIRECT: redirects ? 'on' : 'off',
    },
  });
}

export async function distributionOn(service: S3Service, redirects: boolean): Promise<Server> {
  const bucket = await service.createBucket();
  return startDistribution([
    '  s3:',
    `    accesskey: ${service.accessKey}`,
    `    secretkey: ${service.secretKey}`,
    `    region: ${service.region}`,
    `    regionendpoint: ${service.endpoint}`,
    '    forcepathstyle: true',
    '    secure: false',
    `    bucket: ${bucket}`,
    `  redirect: { disable: ${!redirects} }`,
  ]);
}
