import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { openS3BlobStore } from '../../src/blobs/s3/s3-blob-store.ts';
import { readConfig } from '../../src/config/read.ts';
import { startMinio } from '../harness/minio.ts';
import type { S3Service } from '../harness/s3-service.ts';

const { signal } = new AbortController();
const UNTIL = '2099-01-01T00:00:00Z';

/** Where the tools of AWS look for keys; each test says all of it. */
const NAMES = /^AWS_/;

describe('credentials of an S3 service', () => {
  let service: S3Service;
  let bucket: string;
  let directory: string;
  let before_: Record<string, string | undefined>;

  before(async () => {
    service = await startMinio();
    bucket = await service.createBucket();
  });
  after(() => service[Symbol.asyncDispose]());
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'drift-credentials-'));
    before_ = { ...process.env };
    for (const name of Object.keys(process.env)) if (NAMES.test(name)) delete process.env[name];
    setEnv({
      AWS_CONFIG_FILE: join(directory, 'config'),
      AWS_SHARED_CREDENTIALS_FILE: join(directory, 'credentials'),
      AWS_EC2_METADATA_DISABLED: 'true',
    });
  });
  afterEach(() => {
    for (const name of Object.keys(process.env)) if (NAMES.test(name)) delete process.env[name];
    Object.assign(process.env, before_);
    rmSync(directory, { recursive: true });
  });

  function setEnv(values: Record<string, string>): void {
    Object.assign(process.env, values);
  }

  /** Opens the bucket with whatever keys are found, and writes to it. */
  async function probe(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const { config } = readConfig({
      flags: {},
      cwd: directory,
      env: {
        DRIFT_STORAGE_BACKEND: 's3',
        DRIFT_S3_ENDPOINT: service.endpoint,
        DRIFT_S3_BUCKET: bucket,
        ...env,
      },
    });
    assert.ok(config.storage.s3 !== null);
    const store = openS3BlobStore({ config: config.storage.s3, credentials: config.secrets.s3 });
    try {
      await store.probe(signal);
    } finally {
      await store.close();
    }
  }

  /** A service on loopback that answers like those that give out keys. */
  async function withService(
    answer: (request: IncomingMessage, response: ServerResponse) => void,
    work: (url: string) => Promise<void>,
  ): Promise<void> {
    const server = createServer(answer);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    try {
      await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  it('static keys, of the configuration, are used whatever else is there', async () => {
    setEnv({ AWS_ACCESS_KEY_ID: 'other', AWS_SECRET_ACCESS_KEY: 'other' });
    await probe({ DRIFT_S3_ACCESS_KEY: service.accessKey, DRIFT_S3_SECRET_KEY: service.secretKey });
  });

  it('no keys anywhere, is told in words', async () => {
    await assert.rejects(probe(), { name: 'Unavailable', message: /no credentials were found/ });
  });

  it('the environment of AWS, is used', async () => {
    setEnv({ AWS_ACCESS_KEY_ID: service.accessKey, AWS_SECRET_ACCESS_KEY: service.secretKey });
    await probe();
  });

  it('a shared file and a profile, are used', async () => {
    const keys = `aws_access_key_id = ${service.accessKey}\naws_secret_access_key = ${service.secretKey}\n`;
    writeFileSync(join(directory, 'credentials'), `[registry]\n${keys}`);
    setEnv({ AWS_PROFILE: 'registry' });
    await probe();
  });

  it('a web identity, as Kubernetes gives to a service account, is exchanged for keys', async () => {
    const token = join(directory, 'token');
    writeFileSync(token, 'a.signed.token');
    let asked = '';
    const sts = (request: IncomingMessage, response: ServerResponse): void => {
      request.setEncoding('utf8').on('data', (text: string) => {
        asked += text;
      });
      request.on('end', () => {
        response.setHeader('Content-Type', 'text/xml');
        response.end(`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
          <AssumeRoleWithWebIdentityResult><Credentials>
            <AccessKeyId>${service.accessKey}</AccessKeyId><SecretAccessKey>${service.secretKey}</SecretAccessKey>
            <SessionToken></SessionToken><Expiration>${UNTIL}</Expiration>
          </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`);
      });
    };
    await withService(sts, async (url) => {
      setEnv({
        AWS_REGION: 'us-east-1',
        AWS_ENDPOINT_URL_STS: url,
        AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/registry',
        AWS_WEB_IDENTITY_TOKEN_FILE: token,
      });
      await probe();
    });
    assert.match(asked, /Action=AssumeRoleWithWebIdentity/);
    assert.match(asked, /WebIdentityToken=a\.signed\.token/);
  });

  it('a container, its agent gives keys', () =>
    withService(
      (_, response) =>
        void response.setHeader('Content-Type', 'application/json').end(
          JSON.stringify({
            AccessKeyId: service.accessKey,
            SecretAccessKey: service.secretKey,
            Token: '',
            Expiration: UNTIL,
          }),
        ),
      async (url) => {
        setEnv({ AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/keys` });
        await probe();
      },
    ));

  it('an instance, its metadata give the keys of its role', async () => {
    const session = randomBytes(8).toString('hex');
    const metadata = (request: IncomingMessage, response: ServerResponse): void => {
      if (request.method === 'PUT') return void response.end(session);
      assert.equal(request.headers['x-aws-ec2-metadata-token'], session);
      if (request.url?.endsWith('/security-credentials/')) return void response.end('registry');
      response.end(
        JSON.stringify({
          Code: 'Success',
          AccessKeyId: service.accessKey,
          SecretAccessKey: service.secretKey,
          Token: '',
          Expiration: UNTIL,
        }),
      );
    };
    await withService(metadata, async (url) => {
      delete process.env['AWS_EC2_METADATA_DISABLED'];
      setEnv({ AWS_EC2_METADATA_SERVICE_ENDPOINT: url });
      await probe();
    });
  });
});
