import { ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import type { S3Service } from '../../../test/harness/s3-service.ts';
import type { S3Config } from '../../config/config.ts';
import { openS3BlobStore, type S3BlobStore } from './s3-blob-store.ts';

const MIB = 1024 * 1024;

/** The smallest parts that S3 takes. */
const PART_BYTES = 5 * MIB;

export interface Bucket {
  readonly name: string;
  /** Another store on the same bucket, closed with it. */
  open(config?: Partial<S3Config>, options?: { readonly partsMax?: number }): S3BlobStore;
  /** Keys of objects, and of multipart uploads where the service lists them, that are no blob's. */
  leftovers(): Promise<string[]>;
  close(): Promise<void>;
}

/** A new bucket of the service. */
export async function openBucket(service: S3Service): Promise<Bucket> {
  const name = await service.createBucket();
  const stores: S3BlobStore[] = [];
  return {
    name,
    open: (config = {}, options = {}) => {
      const store = openS3BlobStore({
        config: { ...configOf(service, name), ...config },
        credentials: {
          accessKeyId: service.accessKey,
          secretAccessKey: service.secretKey,
          sessionToken: null,
        },
        ...options,
      });
      stores.push(store);
      return store;
    },
    leftovers: async () => {
      const client = service.openClient();
      try {
        const objects = await client.send(new ListObjectsV2Command({ Bucket: name }));
        const multiparts = await client.send(new ListMultipartUploadsCommand({ Bucket: name }));
        const keys = (objects.Contents ?? []).map(({ Key }) => Key ?? '');
        const open = (multiparts.Uploads ?? []).map(({ Key }) => `multipart ${Key}`);
        return [...keys.filter((key) => !/(^|\/)blobs\/[0-9a-f]{2}\/[0-9a-f]{32}$/.test(key)), ...open];
      } finally {
        client.destroy();
      }
    },
    close: async () => {
      for (const store of stores) await store.close();
    },
  };
}

function configOf(service: S3Service, bucket: string): S3Config {
  return {
    endpoint: service.endpoint,
    region: service.region,
    bucket,
    prefix: 'drift/',
    pathStyle: true,
    storageClass: null,
    encryption: null,
    kmsKeyId: null,
    caFile: null,
    partBytes: PART_BYTES,
    uploadConcurrency: 3,
    uploadMemoryBytesMax: 64 * MIB,
    connectionsMax: 64,
    connectSecondsMax: 3,
    requestSecondsMax: 10,
    attempts: 3,
  };
}
