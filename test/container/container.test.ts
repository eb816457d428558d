import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { requireTool } from '../../scripts/tools.ts';
import { type DockerEngine, runCommand, startDockerEngine } from '../harness/docker-engine.ts';
import { freePort, requireFreePort } from '../harness/free-port.ts';
import { tarOf } from '../harness/oci-layout.ts';
import { importBaseImage } from './base-image.ts';
import { imagesIn, ROOT } from './compose-file.ts';
import { importServiceImages } from './service-images.ts';

const BASE = 'local/base:1';
const IMAGE = 'ghcr.io/ghoststack/drift:latest';
const PASSWORD = 'correct-horse-battery';
const USER_ID = 65532;
const HEALTHY_SECONDS_MAX = 60;
/** Well below the ten seconds after which `docker stop` kills. */
const STOP_SECONDS_MAX = 8;

describe('container', () => {
  let engine: DockerEngine;
  let directory: string;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drift-container-'));
    engine = await startDockerEngine();
    await importBaseImage(engine, BASE);
    await engine.docker(['build', '--network', 'host', ...buildArguments(), '-t', IMAGE, ROOT]);
  });
  after(async () => {
    const running = await engine?.tryDocker(['ps', '-aq']);
    const ids = running?.stdout.split(/\s+/).filter((id) => id !== '') ?? [];
    if (ids.length > 0) await engine.tryDocker(['rm', '--force', '--volumes', ...ids]);
    await engine?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const inspect = async (name: string, format: string): Promise<string> =>
    (await engine.docker(['inspect', '--format', format, name])).stdout.trim();

  async function waitUntilHealthy(name: string): Promise<void> {
    const deadline = Date.now() + HEALTHY_SECONDS_MAX * 1000;
    while ((await inspect(name, '{{.State.Health.Status}}')) !== 'healthy') {
      const { stdout, stderr } = await engine.docker(['logs', name]);
      assert.ok(Date.now() < deadline, `${name} is not healthy:\n${stdout}${stderr}`);
      assert.equal(await inspect(name, '{{.State.Status}}'), 'running', `${stdout}${stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  /** Ends it as `docker stop` does, and tells how that went. */
  async function stopContainer(name: string): Promise<{ readonly code: string; readonly seconds: number }> {
    const started = Date.now();
    await engine.docker(['stop', name]);
    return { code: await inspect(name, '{{.State.ExitCode}}'), seconds: (Date.now() - started) / 1000 };
  }

  const composeIn =
    (project: string) =>
    async (...args: readonly string[]) => {
      const env = { DOCKER_HOST: engine.socket, DOCKER_BUILDKIT: '0' };
      const result = await runCommand(requireTool('docker-compose'), args, { cwd: project, env });
      assert.equal(result.code, 0, `docker-compose ${args.join(' ')}:\n${result.stdout}${result.stderr}`);
      return result.stdout;
    };

  async function expectPushAndPull(reference: string): Promise<void> {
    const file = join(directory, 'image.tar');
    writeFileSync(file, tarOf('content.bin', randomBytes(100_000)));
    const id = (await engine.docker(['import', file, reference])).stdout.trim();
    await engine.docker(['push', reference]);
    await engine.docker(['rmi', '-f', reference]);
    await engine.docker(['pull', reference]);
    assert.equal(await inspect(reference, '{{.Id}}'), id);
  }

  it('the image, run read-only and by its own user, serves itself: healthy, push, pull, stop', async () => {
    const name = 'drift-itself';
    const port = await freePort();
    const settings = {
      DRIFT_BIND_ADDR: `127.0.0.1:${port}`,
      DRIFT_UI_ADDR: `127.0.0.1:${await freePort()}`,
      DRIFT_USERS: `admin:${PASSWORD}`,
    };
    const env = Object.entries(settings).flatMap(([key, value]) => ['--env', `${key}=${value}`]);
    const options = ['--detach', '--name', name, '--network', 'host', '--read-only', '--tmpfs', '/tmp'];
    await engine.docker(['run', ...options, ...env, IMAGE]);
    await waitUntilHealthy(name);
    const inside = (...args: readonly string[]) => engine.tryDocker(['exec', name, ...args]);
    assert.equal((await inside('id', '-u')).stdout.trim(), String(USER_ID));
    const data = await inside('stat', '--format', '%u:%g %a', '/var/lib/drift');
    assert.equal(data.stdout.trim(), `${USER_ID}:${USER_ID} 700`);
    assert.notEqual((await inside('touch', '/opt/drift/new')).code, 0, 'the program files are read-only');
    assert.equal((await inside('node', 'bin/drift.js', 'health')).code, 0);

    const host = `localhost:${port}`;
    await engine.docker(['login', host, '-u', 'admin', '--password-stdin'], { stdin: PASSWORD });
    const reference = `${host}/ghoststack/drift:1`;
    await engine.docker(['tag', IMAGE, reference]);
    await engine.docker(['push', reference]);
    const id = await inspect(reference, '{{.Id}}');
    // Another engine has none of the layers: all of them have to come out again.
    const other = await startDockerEngine();
    try {
      await other.docker(['login', host, '-u', 'admin', '--password-stdin'], { stdin: PASSWORD });
      await other.docker(['pull', reference]);
      const pulled = await other.docker(['image', 'inspect', '--format', '{{.Id}}', reference]);
      assert.equal(pulled.stdout.trim(), id);
    } finally {
      await other.stop();
    }

    const stopped = await stopContainer(name);
    assert.equal(stopped.code, '0', (await engine.docker(['logs', name])).stdout);
    assert.ok(stopped.seconds < STOP_SECONDS_MAX, `stopping took ${stopped.seconds} s`);
  });

  it('the health check, when nothing listens, fails', async () => {
    const result = await engine.tryDocker(['run', '--rm', '--network', 'none', IMAGE, 'health']);
    assert.equal(result.code, 1, result.stderr);
    assert.match(result.stderr, /Not healthy/);
  });

  it("docker-compose.yml, with the README's lines, comes up, takes an image, gives it back and goes down", async () => {
    for (const port of [5000, 5001]) await requireFreePort(port);
    const project = join(directory, 'compose');
    mkdirSync(project);
    cpSync(`${ROOT}docker-compose.yml`, join(project, 'docker-compose.yml'));
    const compose = composeIn(project);
    // The image that the file names is the one built above from the same folder; it is not built again.
    await compose('up', '-d', '--no-build');
    try {
      await waitUntilHealthy('drift');
      assert.equal(await inspect('drift', '{{.HostConfig.ReadonlyRootfs}}'), 'true');
      assert.equal(statSync(join(project, 'data')).uid, USER_ID);
      assert.equal((await fetch('http://localhost:5001/')).status, 200);

      await engine.docker(['login', 'localhost:5000', '-u', 'admin', '-p', 'changeme']);
      await expectPushAndPull('localhost:5000/core/alpine:3');
    } finally {
      await compose('down');
    }
    assert.equal((await engine.docker(['ps', '-aq', '--filter', 'name=drift$'])).stdout.trim(), '');
    assert.ok(statSync(join(project, 'data', 'drift.db')).size > 0, 'the data stay');
  });

  it('docker-compose.scale-out.yml comes up; its nodes serve as one, also without one of them', async () => {
    await requireFreePort(5000);
    await importServiceImages(engine, imagesIn(`${ROOT}deploy/docker-compose.scale-out.yml`));
    const project = join(directory, 'scale-out');
    cpSync(`${ROOT}deploy`, join(project, 'deploy'), { recursive: true });
    const passwords = ['POSTGRES_PASSWORD', 'MINIO_PASSWORD', 'DRIFT_ADMIN_PASSWORD'];
    const lines = passwords.map((name) => `${name}=${randomBytes(16).toString('hex')}\n`);
    writeFileSync(join(project, 'deploy/.env'), lines.join(''));
    const composeBelow = composeIn(project);
    const compose = (...args: readonly string[]) =>
      composeBelow('-f', 'deploy/docker-compose.scale-out.yml', ...args);
    try {
      await compose('up', '-d', '--no-build');
      for (const node of ['drift-1', 'drift-2', 'drift-3']) {
        await waitUntilHealthy((await compose('ps', '-q', node)).trim());
      }
      const listed = await compose('exec', '-T', 'drift-1', 'node', 'bin/drift.js', 'node', 'list');
      assert.deepEqual(listed.match(/^drift-\d/gm), ['drift-1', 'drift-2', 'drift-3'], listed);
      assert.equal((await fetch('http://localhost:5000/')).status, 200);

      const password = lines[2]?.trim().split('=')[1] ?? '';
      await engine.docker(['login', 'localhost:5000', '-u', 'admin', '-p', password]);
      await expectPushAndPull('localhost:5000/core/alpine:3');
      await compose('stop', 'drift-2');
      await expectPushAndPull('localhost:5000/core/alpine:4');
    } finally {
      await compose('down', '--volumes');
    }
  });
});

/** The base made here, and the proxy of this machine's npm where it has one: Docker knows these without an ARG. */
function buildArguments(): string[] {
  const proxies = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'];
  const set = proxies.filter((name) => process.env[name] !== undefined);
  return [`BASE_IMAGE=${BASE}`, ...set.map((name) => `${name}=${process.env[name]}`)].flatMap((pair) => [
    '--build-arg',
    pair,
  ]);
}
