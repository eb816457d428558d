import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type DockerEngine, startDockerEngine } from '../harness/docker-engine.ts';
import { requireFreePort } from '../harness/free-port.ts';
import { tarOf } from '../harness/oci-layout.ts';
import { openPodman } from '../harness/podman.ts';
import { type LayerClient, layerOf, pullDigest, pushMonolithic, pushStreamed } from './large-layer.ts';
import { type TypedLine, typeLine } from './typed-session.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const REGISTRY = 'localhost:5000';
/** `npm ci` fetches some 250 MB the first time. */
const FIRST_START_SECONDS_MAX = 300;
const START_SECONDS_MAX = 30;
const INTERRUPT_SECONDS_MAX = 20;
const LARGE_LAYER_BYTES = 1024 ** 3;
const WARM_UP_BYTES = 64 * 1024 * 1024;
/** All processes together; twice this layer goes in and out meanwhile. */
const RESIDENT_GROWTH_BYTES_MAX = 200 * 1024 * 1024;
const SAMPLE_MILLISECONDS = 100;
/** pino's levels 50 and 60. */
const ERROR_OR_WORSE = /"level":[56]0,/;
const LISTENING = /"msg":"listening"/;

/** The lines of the README below this comment, up to the end of their code block. */
function readmeLines(comment: string): string[] {
  const text = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const block = text.slice(text.indexOf(`\n${comment}\n`)).split('```')[0] ?? '';
  return block.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

/** The only line of the first code block. */
function startLine(): string {
  return /^```bash\n(.*)\n```/m.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))?.[1] ?? '';
}

function readPassword(output: string): string | null {
  return / password +(\S+)/.exec(output)?.[1] ?? null;
}

describe('quick start', () => {
  let directory: string;
  let clone: string;
  let line: TypedLine;
  let password: string;
  before(async () => {
    for (const port of [5000, 5001]) await requireFreePort(port);
    directory = mkdtempSync(join(tmpdir(), 'drift-quick-start-'));
    clone = join(directory, 'drift');
    execFileSync('git', ['clone', '--quiet', ROOT, clone]);
    assert.equal(startLine(), 'npm ci && npm start');
    line = typeLine(startLine(), clone);
    await line.waitFor(LISTENING, FIRST_START_SECONDS_MAX);
    password = readPassword(line.output()) ?? '';
  });
  after(() => {
    line?.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  /** The README's lines as somebody with this password types them; the image is removed before it is pulled. */
  async function typeReadmeLines(
    run: (args: readonly string[]) => Promise<string>,
    importImage: () => Promise<string>,
  ): Promise<void> {
    const lines = readmeLines('# Docker/Podman').map((text) => text.replace('changeme', password).split(' '));
    assert.deepEqual(
      lines.map(([program, verb]) => `${program} ${verb}`),
      ['docker login', 'docker tag', 'docker push', 'docker pull'],
    );
    const id = await importImage();
    for (const [, ...args] of lines) {
      if (args[0] === 'pull') await run(['rmi', '-f', 'alpine:3', args.at(-1) ?? '']);
      await run(args);
    }
    const reference = lines.at(-1)?.at(-1) ?? '';
    assert.equal(reference, `${REGISTRY}/core/alpine:3`);
    const pulled = await run(['image', 'inspect', '--format', '{{.Id}}', reference]);
    assert.equal(pulled.replace(/^sha256:/, ''), id.replace(/^sha256:/, ''));
  }

  function imageFile(): string {
    const file = join(mkdtempSync(join(directory, 'image-')), 'image.tar');
    writeFileSync(file, tarOf('content.bin', randomBytes(200_000)));
    return file;
  }

  function client(): LayerClient {
    const authorization = `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`;
    return { url: `http://${REGISTRY}`, authorization, repository: 'core/large' };
  }

  it('npm ci && npm start, on a fresh clone, prints a password, listens and keeps data in ./data', async () => {
    assert.match(password, /^\S{12,}$/);
    assert.equal((await fetch(`http://${REGISTRY}/v2/`)).status, 401);
    const { authorization } = client();
    assert.equal((await fetch(`http://${REGISTRY}/v2/`, { headers: { authorization } })).status, 200);
    const page = await fetch('http://localhost:5001/');
    assert.equal(page.status, 200);
    assert.match(await page.text(), /docker login localhost:5000/);
    assert.ok(existsSync(join(clone, 'data', 'drift.db')));
  });

  it("docker, with the README's lines, logs in, tags, pushes and pulls", async () => {
    const engine: DockerEngine = await startDockerEngine();
    try {
      const run = async (args: readonly string[]) => (await engine.docker(args)).stdout.trim();
      await typeReadmeLines(run, () => run(['import', imageFile(), 'alpine:3']));
    } finally {
      await engine.stop();
    }
  });

  it("podman, with the README's lines and --tls-verify=false, logs in, tags, pushes and pulls", async () => {
    const podman = openPodman(join(directory, 'podman'));
    const run = async ([verb = '', ...args]: readonly string[]) => {
      const plain = ['login', 'push', 'pull'].includes(verb) ? ['--tls-verify=false'] : [];
      return (await podman.run([verb, ...plain, ...args])).stdout.trim();
    };
    await typeReadmeLines(run, () => run(['import', '--quiet', imageFile(), 'docker.io/library/alpine:3']));
  });

  it('a 1 GiB layer, streamed and in one piece, goes in and out bit-exact while memory stays flat', async (t) => {
    const warm = layerOf(1, WARM_UP_BYTES);
    await pushStreamed(client(), warm);
    await pushMonolithic(client(), layerOf(2, WARM_UP_BYTES));
    assert.equal((await pullDigest(client(), warm)).digest, warm.digest);
    const layers = [layerOf(3, LARGE_LAYER_BYTES), layerOf(4, LARGE_LAYER_BYTES)] as const;

    const before = line.residentBytes();
    assert.ok(before > 0);
    let peak = before;
    const sampling = setInterval(() => {
      peak = Math.max(peak, line.residentBytes());
    }, SAMPLE_MILLISECONDS);
    try {
      await pushStreamed(client(), layers[0]);
      await pushMonolithic(client(), layers[1]);
      for (const { digest, ...rest } of layers) {
        const pulled = await pullDigest(client(), { digest, ...rest });
        assert.deepEqual(pulled, { digest, sizeBytes: LARGE_LAYER_BYTES });
      }
    } finally {
      clearInterval(sampling);
    }
    const grown = peak - before;
    t.diagnostic(`resident memory: ${before} bytes before, ${grown} more at its peak`);
    assert.ok(
      grown < RESIDENT_GROWTH_BYTES_MAX,
      `resident memory grew by ${Math.round(grown / 1024 ** 2)} MiB`,
    );
  });

  it('Ctrl-C ends it, and a second start keeps the password and prints none', async () => {
    await line.interrupt(INTERRUPT_SECONDS_MAX);
    assert.match(line.output(), /"msg":"stopped"/);
    assert.doesNotMatch(line.output(), ERROR_OR_WORSE);
    line = typeLine('npm start', clone);
    await line.waitFor(LISTENING, START_SECONDS_MAX);
    assert.equal(readPassword(line.output()), null);
    const { authorization } = client();
    const url = `http://${REGISTRY}/v2/core/alpine/manifests/3`;
    assert.equal((await fetch(url, { method: 'HEAD', headers: { authorization } })).status, 200);
    await line.interrupt(INTERRUPT_SECONDS_MAX);
    for (const port of [5000, 5001]) await requireFreePort(port);
  });
});
