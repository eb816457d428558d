import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { requireTool } from '../../scripts/tools.ts';
import { writeDockerConfig } from '../harness/docker-config.ts';
import { runCommand } from '../harness/docker-engine.ts';
import { startMinio } from '../harness/minio.ts';
import { readLayoutBlobs, writeLayout } from '../harness/oci-layout.ts';
import type { S3Service } from '../harness/s3-service.ts';
import { ADMIN_HEADER, type StartedRegistry, startRegistry } from '../harness/start-registry.ts';
import { sha256 } from '../v2/v2-client.ts';

const AUTH = { Authorization: ADMIN_HEADER };
const BYTES = randomBytes(300_000);
const SMALL = randomBytes(1000);
const PATH = '/v2/team/app/blobs/';

describe('redirects to an S3 service', () => {
  let service: S3Service;
  let bucket: string;
  before(async () => {
    service = await startMinio();
    bucket = await service.createBucket();
  });
  after(() => service[Symbol.asyncDispose]());

  /** Clients find the service by another name than the registry does. */
  const publicEndpoint = () => service.endpoint.replace('127.0.0.1', 'localhost');

  async function withRegistry(
    env: Readonly<Record<string, string>>,
    work: (registry: StartedRegistry) => Promise<void>,
  ): Promise<void> {
    const registry = await startRegistry({
      env: {
        DRIFT_STORAGE_BACKEND: 's3',
        DRIFT_S3_ENDPOINT: service.endpoint,
        DRIFT_S3_BUCKET: bucket,
        DRIFT_S3_PREFIX: `p${randomBytes(4).toString('hex')}`,
        DRIFT_S3_ACCESS_KEY: service.accessKey,
        DRIFT_S3_SECRET_KEY: service.secretKey,
        DRIFT_STORAGE_REDIRECT_MIN_SIZE: '64KiB',
        ...env,
      },
    });
    try {
      for (const bytes of [BYTES, SMALL]) await push(registry, bytes);
      await work(registry);
    } finally {
      await registry.stop();
    }
  }

  async function push(registry: StartedRegistry, bytes: Buffer): Promise<void> {
    const url = `${registry.registryUrl}${PATH}uploads/?digest=${sha256(bytes)}`;
    const headers = { ...AUTH, 'Content-Type': 'application/octet-stream' };
    const answer = await fetch(url, { method: 'POST', headers, body: new Uint8Array(bytes) });
    assert.equal(answer.status, 201, await answer.text());
  }

  function get(registry: StartedRegistry, bytes: Buffer, options: RequestInit = {}): Promise<Response> {
    const headers = { ...AUTH, ...(options.headers as Record<string, string> | undefined) };
    const url = `${registry.registryUrl}${PATH}${sha256(bytes)}`;
    return fetch(url, { redirect: 'manual', ...options, headers });
  }

  it('GET, to an endpoint for clients, is 307 to an address that gives the bytes, and ranges of them', () =>
    withRegistry({ DRIFT_S3_PUBLIC_ENDPOINT: publicEndpoint() }, async (registry) => {
      const answer = await get(registry, BYTES);
      assert.equal(answer.status, 307);
      assert.equal(answer.headers.get('cache-control'), 'no-store');
      assert.equal(answer.headers.get('docker-content-digest'), sha256(BYTES));
      const location = answer.headers.get('location') ?? '';
      assert.ok(location.startsWith(`${publicEndpoint()}/${bucket}/`), location);
      assert.equal(new URL(location).searchParams.get('X-Amz-Expires'), '300');
      const found = await fetch(location);
      assert.equal(found.headers.get('content-type'), 'application/octet-stream');
      assert.equal(found.headers.get('content-disposition'), 'attachment');
      assert.ok(Buffer.from(await found.arrayBuffer()).equals(BYTES));
      const part = await fetch(location, { headers: { Range: 'bytes=1000-1999' } });
      assert.equal(part.status, 206);
      assert.ok(Buffer.from(await part.arrayBuffer()).equals(BYTES.subarray(1000, 2000)));
      assert.equal((await fetch(`${location.slice(0, -4)}0000`)).status, 403);
    }));

  it('GET, in auto with an endpoint of this machine only, and with off, gives the bytes itself', async () => {
    for (const env of [{}, { DRIFT_S3_PUBLIC_ENDPOINT: publicEndpoint(), DRIFT_STORAGE_REDIRECT: 'off' }]) {
      await withRegistry(env, async (registry) => {
        const answer = await get(registry, BYTES);
        assert.equal(answer.status, 200);
        assert.ok(Buffer.from(await answer.arrayBuffer()).equals(BYTES));
      });
    }
  });

  it('HEAD, small blobs, conditions, several ranges and those without rights, are answered here', () =>
    withRegistry({ DRIFT_STORAGE_REDIRECT: 'on' }, async (registry) => {
      const tag = `"${sha256(BYTES)}"`;
      assert.equal((await get(registry, BYTES)).status, 307);
      assert.equal((await get(registry, BYTES, { headers: { Range: 'bytes=0-9' } })).status, 307);
      assert.equal((await get(registry, BYTES, { method: 'HEAD' })).status, 200);
      assert.equal((await get(registry, SMALL)).status, 200);
      assert.equal((await get(registry, BYTES, { headers: { 'If-None-Match': tag } })).status, 304);
      const resumed = await get(registry, BYTES, { headers: { Range: 'bytes=9-', 'If-Range': tag } });
      assert.equal(resumed.status, 206);
      assert.ok(Buffer.from(await resumed.arrayBuffer()).equals(BYTES.subarray(9)));
      const several = await get(registry, BYTES, { headers: { Range: 'bytes=0-9,20-29' } });
      assert.equal(several.status, 206);
      await several.arrayBuffer();
      assert.equal((await get(registry, BYTES, { headers: { Authorization: '' } })).status, 401);
      assert.equal((await get(registry, Buffer.from('unknown'))).status, 404);
    }));

  it('crane, skopeo and curl, follow them and get every byte', () =>
    withRegistry({ DRIFT_S3_PUBLIC_ENDPOINT: publicEndpoint() }, async (registry) => {
      const directory = mkdtempSync(join(tmpdir(), 'drift-redirects-'));
      const host = new URL(registry.registryUrl).host;
      const user = { name: 'admin', password: 'correct-horse-battery' };
      writeDockerConfig(directory, { host, url: registry.registryUrl, authorityFile: null }, user);
      const run = async (tool: 'crane' | 'skopeo' | 'curl', ...args: string[]) => {
        const result = await runCommand(requireTool(tool), args, { env: { DOCKER_CONFIG: directory } });
        assert.equal(result.code, 0, `${tool} ${args.join(' ')}: ${result.stderr}`);
      };
      try {
        const source = writeLayout(join(directory, 'in'));
        const reference = `${host}/team/image:1`;
        await run('crane', 'push', source.directory, reference);
        await run('crane', 'validate', '--remote', reference);
        await run('crane', 'pull', '--format=oci', reference, join(directory, 'crane'));
        const options = [
          '--insecure-policy',
          'copy',
          '--src-tls-verify=false',
          '--src-creds=admin:correct-horse-battery',
        ];
        await run('skopeo', ...options, `docker://${reference}`, `oci:${join(directory, 'skopeo')}:1`);
        const expected = readLayoutBlobs(source.directory);
        for (const [digest, bytes] of expected) {
          for (const client of ['crane', 'skopeo']) {
            assert.ok(
              readLayoutBlobs(join(directory, client)).get(digest)?.equals(bytes),
              `${client} ${digest}`,
            );
          }
        }
        const out = join(directory, 'curl');
        const url = `${registry.registryUrl}${PATH}${sha256(BYTES)}`;
        await run('curl', '-fsSL', '-u', 'admin:correct-horse-battery', '-o', out, url);
        assert.ok(readFileSync(out).equals(BYTES));
      } finally {
        rmSync(directory, { recursive: true });
      }
    }));
});
