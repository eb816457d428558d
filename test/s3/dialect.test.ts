import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { HeadObjectCommand, type HeadObjectOutput, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { type CertificateAuthority, createCertificateAuthority } from '../harness/certificate-authority.ts';
import { startMinio } from '../harness/minio.ts';
import { withHost } from '../harness/private-hosts.ts';
import { digestOf } from '../harness/push-image.ts';
import type { S3Service } from '../harness/s3-service.ts';
import { runDrift, spawnDrift } from '../harness/spawn-drift.ts';

const HOST = 's3.drift.test';
const KMS_KEY = 'drift-key';
const USER = 'admin:correct-horse-battery';
const HEADERS = {
  authorization: `Basic ${Buffer.from(USER).toString('base64')}`,
  'content-type': 'application/octet-stream',
};
/** In one piece, and in several parts. */
const BLOBS = [randomBytes(100_000), randomBytes(20 * 1024 * 1024)];

describe('an S3 service that wants more than the defaults', () => {
  let service: S3Service;
  let authority: CertificateAuthority;
  let directory: string;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drift-dialect-'));
    authority = createCertificateAuthority();
    service = await startMinio({
      certificate: authority.issue('s3', [`DNS:${HOST}`, `DNS:*.${HOST}`, 'IP:127.0.0.1']),
      env: {
        MINIO_DOMAIN: HOST,
        MINIO_KMS_SECRET_KEY: `${KMS_KEY}:${randomBytes(32).toString('base64')}`,
      },
    });
  });
  after(async () => {
    await service?.[Symbol.asyncDispose]();
    authority?.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  const environment = (bucket: string, more: Readonly<Record<string, string>> = {}) => ({
    DRIFT_USERS: USER,
    DRIFT_STORAGE_BACKEND: 's3',
    DRIFT_S3_ENDPOINT: service.endpoint,
    DRIFT_S3_REGION: service.region,
    DRIFT_S3_BUCKET: bucket,
    DRIFT_S3_PATH_STYLE: 'true',
    DRIFT_S3_ACCESS_KEY: service.accessKey,
    DRIFT_S3_SECRET_KEY: service.secretKey,
    DRIFT_S3_CA_FILE: authority.certificateFile,
    ...more,
  });

  /** Pushes both blobs and pulls them again through a registry; resolves with what the service says of its objects. */
  async function pushAndPull(
    bucket: string,
    env: Readonly<Record<string, string>>,
    within: readonly string[] = [],
  ): Promise<readonly HeadObjectOutput[]> {
    const registry = await spawnDrift({ env, within });
    try {
      for (const bytes of BLOBS) {
        const blob = `${registry.registryUrl}/v2/a/b/blobs`;
        const pushed = await fetch(`${blob}/uploads/?digest=${digestOf(bytes)}`, {
          method: 'POST',
          headers: HEADERS,
          body: bytes,
        });
        assert.equal(pushed.status, 201, await pushed.text());
        const pulled = await fetch(`${blob}/${digestOf(bytes)}`, { headers: HEADERS });
        assert.equal(pulled.status, 200);
        assert.equal(digestOf(Buffer.from(await pulled.arrayBuffer())), digestOf(bytes));
      }
    } finally {
      await registry.stop();
    }
    return await objectsOf(bucket);
  }

  async function objectsOf(bucket: string): Promise<readonly HeadObjectOutput[]> {
    const client = service.openClient();
    try {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
      assert.equal(Contents.length, BLOBS.length);
      return await Promise.all(
        Contents.map(({ Key }) => client.send(new HeadObjectCommand({ Bucket: bucket, Key }))),
      );
    } finally {
      client.destroy();
    }
  }

  it('the bucket in the name of the host, over TLS of an own authority, serves', async () => {
    const bucket = await service.createBucket('in-the-host');
    const endpoint = service.endpoint.replace('127.0.0.1', HOST);
    const env = environment(bucket, { DRIFT_S3_ENDPOINT: endpoint, DRIFT_S3_PATH_STYLE: 'false' });
    // Its own name does not lead there: a request in path style would fail.
    await pushAndPull(bucket, env, withHost(directory, `${bucket}.${HOST}`, '127.0.0.1'));
  });

  it('TLS of an authority that nobody named, ends the start with a sentence that says so', async () => {
    const { DRIFT_S3_CA_FILE: _, ...env } = environment(await service.createBucket());
    const started = await runDrift(['serve'], { dataDirectory: directory, env });
    assert.notEqual(started.code, 0);
    assert.match(started.stdout + started.stderr, /certificate/);
  });

  for (const [encryption, more] of [
    ['AES256', {}],
    ['aws:kms', { DRIFT_S3_KMS_KEY_ID: KMS_KEY }],
  ] as const) {
    it(`s3.encryption ${encryption}, encrypts every blob so`, async () => {
      const bucket = await service.createBucket();
      const env = environment(bucket, { DRIFT_S3_ENCRYPTION: encryption, ...more });
      for (const object of await pushAndPull(bucket, env)) {
        assert.equal(object.ServerSideEncryption, encryption);
        if (encryption === 'aws:kms') assert.match(object.SSEKMSKeyId ?? '', new RegExp(`${KMS_KEY}$`));
      }
    });
  }

  it('s3.storage_class, is that of every blob', async () => {
    const bucket = await service.createBucket();
    const objects = await pushAndPull(
      bucket,
      environment(bucket, { DRIFT_S3_STORAGE_CLASS: 'REDUCED_REDUNDANCY' }),
    );
    assert.deepEqual(
      objects.map(({ StorageClass }) => StorageClass),
      BLOBS.map(() => 'REDUCED_REDUNDANCY'),
    );
  });
});
