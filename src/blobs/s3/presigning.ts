import { GetObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { Presign } from '../blob-store.ts';
import { type Layout, uploadAt } from './layout.ts';
import { type Service, translating } from './service.ts';

/** Addresses are signed here, without asking the service: for the name by which clients know it. */
export function presigning(service: Service, layout: Layout): Presign {
  const { endpoint, publicEndpoint, region } = service.config;
  return {
    origin: publicEndpoint ?? endpoint ?? `https://s3.${region}.amazonaws.com`,
    isForClients: publicEndpoint !== null,
    address: ({ location, expiresSeconds, mediaType }) =>
      translating('sign an address', () => {
        const command = new GetObjectCommand({
          Bucket: service.bucket,
          Key: layout.blobKey(uploadAt(location)),
          ResponseContentType: mediaType,
          // What comes from a pusher must not run in a browser there either.
          ResponseContentDisposition: 'attachment',
        });
        return getSignedUrl(service.clientForAddresses(), command, { expiresIn: expiresSeconds });
      }),
  };
}
