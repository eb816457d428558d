import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { requireTool } from '../../scripts/tools.ts';
import { type CertificateAuthority, createCertificateAuthority } from '../harness/certificate-authority.ts';
import { type DockerEngine, runCommand, startDockerEngine } from '../harness/docker-engine.ts';
import { type Nginx, startNginx } from '../harness/nginx.ts';
import { tarOf } from '../harness/oci-layout.ts';
import { openPodman, type Podman } from '../harness/podman.ts';
import { withHost } from '../harness/private-hosts.ts';
import { type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';
import { adaptBlock, ORIGINAL_BLOCK, readmeBlock } from './readme-block.ts';

const NAME = 'registry.example.com';
/** An address of this machine's loopback that nothing else listens at, so that the port can be the real one. */
const ADDRESS = '127.77.0.1';
const PORT = 443;
const PASSWORD = 'correct-horse-battery';
const LARGE_LAYER_BYTES = 64 * 1024 * 1024;
const SMALL_LAYER_BYTES = 100_000;

describe('behind nginx', () => {
  let directory: string;
  let authority: CertificateAuthority;
  let hosts: readonly string[];
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'drift-proxy-'));
    authority = createCertificateAuthority();
    hosts = withHost(directory, NAME, ADDRESS);
  });
  after(() => {
    authority?.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  /** A registry behind a proxy with this block; `stop` ends both. */
  async function startBehind(block: string, env: Readonly<Record<string, string>> = {}) {
    const drift = await spawnDrift({ env: { DRIFT_USERS: `admin:${PASSWORD}`, ...env } });
    const certificate = authority.issue('registry', [`DNS:${NAME}`]);
    const serverBlock = adaptBlock(block, {
      listen: `${ADDRESS}:${PORT}`,
      registry: new URL(drift.registryUrl).host,
      console: new URL(drift.consoleUrl).host,
      ...certificate,
    });
    let nginx: Nginx;
    try {
      nginx = await startNginx({ serverBlock, host: ADDRESS, port: PORT });
    } catch (error) {
      await drift.stop();
      throw error;
    }
    return {
      drift,
      stop: async () => {
        await nginx.stop();
        await drift.stop();
      },
    };
  }

  /** Status, headers by lower-case name, body: of a request by the public name, over checked TLS. */
  async function ask(path: string, ...options: readonly string[]) {
    return askUrl(new URL(path, `https://${NAME}`).href, ...options);
  }

  async function askUrl(url: string, ...options: readonly string[]) {
    const { code, stdout, stderr } = await runCommand(requireTool('curl'), [
      '--silent',
      '--show-error',
      '--include',
      '--cacert',
      authority.certificateFile,
      '--resolve',
      `${NAME}:${PORT}:${ADDRESS}`,
      ...options,
      url,
    ]);
    assert.equal(code, 0, stderr);
    const [head = '', ...rest] = stdout.split('\r\n\r\n');
    const [status = '', ...lines] = head.split('\r\n');
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.replace(/^[^:]*: */, '')]),
    );
    return { status: Number(status.split(' ')[1]), headers, body: rest.join('\r\n\r\n') };
  }

  const credentials = ['--user', `admin:${PASSWORD}`] as const;

  function realmIn(headers: ReadonlyMap<string, string>): string | undefined {
    return /^Bearer realm="([^"]*)"/.exec(headers.get('www-authenticate') ?? '')?.[1];
  }

  async function withEngine(work: (engine: DockerEngine) => Promise<void>): Promise<void> {
    const engine = await startDockerEngine(hosts);
    try {
      engine.trust(NAME, authority.certificateFile);
      await work(engine);
    } finally {
      await engine.stop();
    }
  }

  function imageFile(sizeBytes: number): string {
    const file = join(mkdtempSync(join(directory, 'image-')), 'image.tar');
    writeFileSync(file, tarOf('content.bin', randomBytes(sizeBytes)));
    return file;
  }

  /** Login, push, removal here and pull with docker: the same image comes back. */
  async function dockerRoundTrip(engine: DockerEngine, reference: string, sizeBytes: number): Promise<void> {
    await engine.docker(['login', NAME, '-u', 'admin', '--password-stdin'], { stdin: PASSWORD });
    const file = imageFile(sizeBytes);
    const id = (await engine.docker(['import', file, reference])).stdout.trim();
    rmSync(file);
    await engine.docker(['push', reference]);
    await engine.docker(['rmi', '-f', reference]);
    await engine.docker(['pull', reference]);
    const { stdout } = await engine.docker(['image', 'inspect', '--format', '{{.Id}}', reference]);
    assert.equal(stdout.trim(), id);
  }

  async function podmanRoundTrip(podman: Podman, reference: string, sizeBytes: number): Promise<void> {
    const trust = `--cert-dir=${dirname(authority.certificateFile)}`;
    await podman.run(['login', trust, '-u', 'admin', '--password-stdin', NAME], PASSWORD);
    const file = imageFile(sizeBytes);
    const id = (await podman.run(['import', '--quiet', file, reference])).stdout.trim();
    rmSync(file);
    await podman.run(['push', trust, reference]);
    await podman.run(['rmi', '-f', reference]);
    await podman.run(['pull', trust, reference]);
    const { stdout } = await podman.run(['image', 'inspect', '--format', '{{.Id}}', reference]);
    assert.equal(stdout.trim(), id.replace(/^sha256:/, ''));
  }

  describe("with the README's block", () => {
    let behind: { readonly drift: SpawnedDrift; stop(): Promise<void> };
    before(async () => {
      behind = await startBehind(readmeBlock());
    });
    after(() => behind?.stop());

    it('the challenge, without external_url, names the token endpoint as clients reach it', async () => {
      const { status, headers } = await ask('/v2/');
      assert.equal(status, 401);
      assert.equal(realmIn(headers), `https://${NAME}/token`);
    });

    it('the realm, the health and the welcome page, all outside /v2/, answer through the console port', async () => {
      const { headers } = await ask('/v2/');
      const service = /service="([^"]*)"/.exec(headers.get('www-authenticate') ?? '')?.[1] ?? '';
      const token = await askUrl(`${realmIn(headers)}?service=${service}`, ...credentials);
      assert.equal(token.status, 200);
      const bearer = (JSON.parse(token.body) as { token: string }).token;
      assert.equal((await ask('/v2/', '--header', `Authorization: Bearer ${bearer}`)).status, 200);
      assert.equal((await ask('/healthz')).status, 200);
      const page = await ask('/');
      assert.equal(page.status, 200);
      assert.ok(
        page.body.includes(`docker login ${NAME}`),
        'the page names the host that the reader came to',
      );
    });

    it('the Location of an upload, followed as a client does, leads back through the proxy', async () => {
      const started = await ask('/v2/core/app/blobs/uploads/', ...credentials, '--request', 'POST');
      assert.equal(started.status, 202);
      const location = new URL(
        started.headers.get('location') ?? '',
        `https://${NAME}/v2/core/app/blobs/uploads/`,
      );
      assert.equal(location.origin, `https://${NAME}`);
      const patched = await askUrl(
        location.href,
        ...credentials,
        '--request',
        'PATCH',
        '--data-binary',
        'hello',
      );
      assert.equal(patched.status, 202);
      assert.equal(patched.headers.get('range'), '0-4');
    });

    it(`docker, with a layer of ${LARGE_LAYER_BYTES} bytes, logs in, pushes and pulls`, async () => {
      await withEngine((engine) => dockerRoundTrip(engine, `${NAME}/core/large:1`, LARGE_LAYER_BYTES));
    });

    it(`podman, with a layer of ${LARGE_LAYER_BYTES} bytes, logs in, pushes and pulls`, async () => {
      const podman = openPodman(join(directory, 'podman'), hosts);
      await podmanRoundTrip(podman, `${NAME}/team/large:1`, LARGE_LAYER_BYTES);
    });
  });

  describe("with the original README's block", () => {
    let behind: { readonly drift: SpawnedDrift; stop(): Promise<void> };
    before(async () => {
      behind = await startBehind(ORIGINAL_BLOCK);
    });
    after(() => behind?.stop());

    it('docker, with a small layer, logs in, pushes and pulls', async () => {
      await withEngine((engine) => dockerRoundTrip(engine, `${NAME}/core/small:1`, SMALL_LAYER_BYTES));
    });
  });

  describe('with an external_url', () => {
    let behind: { readonly drift: SpawnedDrift; stop(): Promise<void> };
    before(async () => {
      behind = await startBehind(ORIGINAL_BLOCK, { DRIFT_EXTERNAL_URL: `https://${NAME}` });
    });
    after(() => behind?.stop());

    it('the realm, whatever way the request came, is at the external address', async () => {
      assert.equal(realmIn((await ask('/v2/')).headers), `https://${NAME}/token`);
      const direct = await fetch(`${behind.drift.registryUrl}/v2/`);
      assert.equal(realmIn(new Map(direct.headers)), `https://${NAME}/token`);
    });
  });

  describe('with a peer that is not on the list of trusted proxies', () => {
    let behind: { readonly drift: SpawnedDrift; stop(): Promise<void> };
    before(async () => {
      behind = await startBehind(readmeBlock(), { DRIFT_TRUSTED_PROXIES: '192.0.2.0/24' });
    });
    after(() => behind?.stop());

    it('its X-Forwarded-Proto and X-Forwarded-Host are not believed', async () => {
      const { headers } = await ask('/v2/', '--header', 'X-Forwarded-Host: evil.example');
      assert.equal(realmIn(headers), `http://${NAME}/token`);
    });
  });
});
