import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3';
import type { S3Service } from '../../../test/harness/s3-service.ts';
import type { S3Config, S3Credentials } from '../../config/config.ts';
import type { UploadId } from '../blob-store.ts';
import { newUploadId } from '../upload-id.ts';
import { Layout } from './layout.ts';
import { openS3BlobStore, type S3BlobStore } from './s3-blob-store.ts';

const MIB = 1024 * 1024;
const PREFIX = 'drift/';

/** The smallest parts that S3 takes. */
export const PART_BYTES = 5 * MIB;

interface StoreOptions {
  readonly partsMax?: number;
  readonly copyBytesMax?: number;
  readonly credentials?: Partial<S3Credentials>;
}

export interface Bucket {
  readonly name: string;
  /** Another store on the same bucket, closed with it. */
  open(config?: Partial<S3Config>, options?: StoreOptions): S3BlobStore;
  /** An upload whose multipart uploads `leftovers` asks for: MinIO lists them by their whole key only. */
  newUpload(): UploadId;
  /** Keys of objects that are no blob's, and of multipart uploads. */
  leftovers(): Promise<string[]>;
  /** As a rule for the life cycle of the bucket does. */
  abortMultiparts(): Promise<void>;
  close(): Promise<void>;
}

/** A new bucket of the service. */
export async function openBucket(service: S3Service): Promise<Bucket> {
  const name = await service.createBucket();
  const client = service.openClient();
  const stores: S3BlobStore[] = [];
  const uploads: UploadId[] = [];
  return {
    name,
    open: (config = {}, { credentials = {}, ...options } = {}) => {
      const store = openS3BlobStore({
        config: { ...configOf(service, name), ...config },
        credentials: {
          accessKeyId: service.accessKey,
          secretAccessKey: service.secretKey,
          sessionToken: null,
          ...credentials,
        },
        ...options,
      });
      stores.push(store);
      return store;
    },
    newUpload: () => {
      const id = newUploadId();
      uploads.push(id);
      return id;
    },
    leftovers: async () => {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: name }));
      const keys = Contents.map(({ Key = '' }) => Key);
      const open = await multiparts(client, name, uploads);
      return [
        ...keys.filter((key) => !/^drift\/blobs\/[0-9a-f]{2}\/[0-9a-f]{32}$/.test(key)),
        ...open.map(({ key }) => `multipart upload of ${key}`),
      ];
    },
    abortMultiparts: async () => {
      for (const { key, id } of await multiparts(client, name, uploads)) {
        await client.send(new AbortMultipartUploadCommand({ Bucket: name, Key: key, UploadId: id }));
      }
    },
    close: async () => {
      for (const store of stores) await store.close();
      client.destroy();
    },
  };
}

async function multiparts(
  client: S3Client,
  bucket: string,
  uploads: readonly UploadId[],
): Promise<{ key: string; id: string }[]> {
  const layout = new Layout(PREFIX);
  const prefixes = [layout.blobs, ...uploads.map((upload) => layout.blobKey(upload))];
  const found = new Map<string, { key: string; id: string }>();
  for (const prefix of prefixes) {
    const command = new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix });
    for (const { Key: key = '', UploadId: id = '' } of (await client.send(command)).Uploads ?? []) {
      found.set(id, { key, id });
    }
  }
  return [...found.values()];
}

function configOf(service: S3Service, bucket: string): S3Config {
  return {
    endpoint: service.endpoint,
    publicEndpoint: null,
    region: service.region,
    bucket,
    prefix: PREFIX,
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
