import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startContainerd } from '../harness/containerd.ts';
import { startDockerEngine } from '../harness/docker-engine.ts';
import { startMinio } from '../harness/minio.ts';
import { tarOf } from '../harness/oci-layout.ts';
import { openPodman, type Podman } from '../harness/podman.ts';
import type { S3Service } from '../harness/s3-service.ts';
import { type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';

const USER = 'admin';
const PASSWORD = 'correct-horse-battery';
const LAYER_BYTES = 300_000;

/** Engines that pull from a registry that sends them to the bucket: none of them may take its credentials along. */
describe('redirects to an S3 service, followed by engines', () => {
  let service: S3Service;
  let registry: SpawnedDrift;
  let host: string;
  let directory: string;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drift-engines-'));
    service = await startMinio();
    registry = await spawnDrift({
      env: {
        DRIFT_USERS: `${USER}:${PASSWORD}`,
        DRIFT_STORAGE_BACKEND: 's3',
        DRIFT_S3_ENDPOINT: service.endpoint,
        DRIFT_S3_BUCKET: await service.createBucket(),
        DRIFT_S3_ACCESS_KEY: service.accessKey,
        DRIFT_S3_SECRET_KEY: service.secretKey,
        DRIFT_S3_PUBLIC_ENDPOINT: service.endpoint.replace('127.0.0.1', 'localhost'),
        DRIFT_STORAGE_REDIRECT_MIN_SIZE: '64KiB',
      },
    });
    host = new URL(registry.registryUrl).host;
  });
  after(async () => {
    await registry?.stop();
    await service?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  /** The tar of an image that nobody has. */
  function content(name: string): string {
    const file = join(directory, `${name}.tar`);
    writeFileSync(file, tarOf('content.bin', randomBytes(LAYER_BYTES)));
    return file;
  }

  /** Does `pull`; fails unless it was sent to the bucket for the layer. */
  async function isSentAway(repository: string, pull: () => Promise<unknown>): Promise<void> {
    await pull();
    await registry.waitForLog(
      (line) =>
        line['status'] === 307 && String(line['url'] ?? line['path']).includes(`/${repository}/blobs/`),
    );
  }

  it('docker, follows them', async () => {
    const engine = await startDockerEngine();
    try {
      const reference = `${host}/engines/docker:1`;
      await engine.docker(['login', host, '-u', USER, '--password-stdin'], { stdin: PASSWORD });
      const id = (await engine.docker(['import', content('docker'), reference])).stdout.trim();
      await engine.docker(['push', reference]);
      await engine.docker(['rmi', '-f', reference]);
      await isSentAway('engines/docker', () => engine.docker(['pull', reference]));
      const pulled = await engine.docker(['image', 'inspect', '--format', '{{.Id}}', reference]);
      assert.equal(pulled.stdout.trim(), id);
    } finally {
      await engine.stop();
    }
  });

  /** An image of podman's, pushed from an empty storage that then has it no more. */
  async function pushByPodman(podman: Podman, reference: string): Promise<string> {
    await podman.run(['login', host, '-u', USER, '--password-stdin', '--tls-verify=false'], PASSWORD);
    const { stdout } = await podman.run(['import', content('podman'), reference]);
    await podman.run(['push', '--tls-verify=false', reference]);
    await podman.run(['rmi', '-f', reference]);
    return stdout.trim().split('\n').at(-1) ?? '';
  }

  it('podman, follows them', async () => {
    const podman = openPodman(join(directory, 'p1'));
    const reference = `${host}/engines/podman:1`;
    const id = await pushByPodman(podman, reference);
    await isSentAway('engines/podman', () => podman.run(['pull', '--tls-verify=false', reference]));
    const pulled = await podman.run(['image', 'inspect', '--format', '{{.Id}}', reference]);
    assert.equal(`sha256:${pulled.stdout.trim()}`, id);
  });

  it('containerd, follows them', async () => {
    const reference = `${host}/engines/containerd:1`;
    await pushByPodman(openPodman(join(directory, 'p2')), reference);
    const containerd = await startContainerd(directory);
    try {
      const options = ['--plain-http', '--user', `${USER}:${PASSWORD}`, '--snapshotter', 'native'];
      await isSentAway('engines/containerd', async () => {
        // It checks every digest of what it stores.
        const { code, stderr } = await containerd.ctr(['images', 'pull', ...options, reference]);
        assert.equal(code, 0, stderr);
      });
    } finally {
      await containerd.stop();
    }
  });
});
