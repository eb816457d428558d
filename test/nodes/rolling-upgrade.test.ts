import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { schemaVersion } from '../../src/meta/migrations/index.ts';
import { type Cluster, startCluster } from '../harness/cluster.ts';
import { basic, openConnection } from '../harness/http-connection.ts';
import { ADMIN, type ListedNode } from '../harness/nodes.ts';
import { digestOf } from '../harness/push-image.ts';
import { runDrift } from '../harness/spawn-drift.ts';
import { storeEnvironment } from '../harness/stack.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CLIENTS = 6;
const LAYER_BYTES = 200_000;
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const HEADERS = basic(ADMIN.name, ADMIN.password);

it('nodes replaced one by one by a version with another schema, under pushes and pulls: no request fails', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'drift-upgrade-'));
  const cluster = await startCluster({ env: { DRIFT_USERS: `${ADMIN.name}:${ADMIN.password}` } });
  try {
    const program = nextVersion(directory);
    const load = startLoad(cluster.url);
    try {
      for (const index of cluster.nodes.keys()) {
        await load.goOn();
        await cluster.upgrade(index, program);
        const expected = cluster.nodes.map((_, at) => (at <= index ? schemaVersion + 1 : schemaVersion));
        assert.deepEqual(
          await schemaVersions(cluster, directory),
          expected.toSorted((a, b) => a - b),
        );
      }
      await load.goOn();
    } finally {
      await load.end();
    }
    assert.ok(load.pushed.size > 0);
    for (const [name, digest] of load.pushed) await pull(cluster.url, name, digest);
    await cluster.stop();
    const fsck = await runDrift(['fsck'], {
      dataDirectory: directory,
      env: { ...storeEnvironment(cluster.stores) },
    });
    assert.equal(fsck.code, 0, fsck.stdout + fsck.stderr);
  } finally {
    await cluster.stop();
    rmSync(directory, { recursive: true, force: true });
  }
});

/** This version, with one more migration: it changes a table that every push writes, while the others go on. */
function nextVersion(directory: string): string {
  const tree = join(directory, 'next');
  for (const name of ['bin', 'src', 'package.json'])
    cpSync(join(ROOT, name), join(tree, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
  const version = schemaVersion + 1;
  writeFileSync(
    join(tree, 'src/meta/migrations/next.ts'),
    `export const next = {
      version: ${version},
      name: 'next',
      compatibleFrom: ${schemaVersion},
      statements: ({ text, clustered }) => [
        \`create table labels (name \${text} not null primary key)\${clustered}\`,
        \`alter table tags add column label \${text}\`,
      ],
    };`,
  );
  const index = join(tree, 'src/meta/migrations/index.ts');
  const text = readFileSync(index, 'utf8');
  const list = /(export const migrations: readonly Migration\[\] = \[[^\]]*)\]/;
  assert.match(text, list);
  writeFileSync(index, `import { next } from './next.ts';\n${text.replace(list, '$1  next,\n]')}`);
  return join(tree, 'bin/drift.js');
}

/** Of the programs that run, as they report them, lowest first. */
async function schemaVersions(cluster: Cluster, directory: string): Promise<readonly number[]> {
  const { code, stdout, stderr } = await runDrift(['node', 'list', '--json'], {
    dataDirectory: directory,
    env: { ...storeEnvironment(cluster.stores) },
  });
  assert.equal(code, 0, stderr);
  const nodes = JSON.parse(stdout) as readonly ListedNode[];
  return nodes.map((node) => node.schemaVersion).toSorted((a, b) => a - b);
}

interface Load {
  /** The digests of the manifests pushed so far, by repository and tag. */
  readonly pushed: ReadonlyMap<string, string>;
  /** Resolves when every client has pushed and pulled another image; rejects when one of them has failed. */
  goOn(): Promise<void>;
  /** Resolves when all have ended; rejects when one of them has failed. */
  end(): Promise<void>;
}

function startLoad(url: string): Load {
  const pushed = new Map<string, string>();
  const rounds = Array.from({ length: CLIENTS }, () => 0);
  let isOver = false;
  const client = async (number: number): Promise<void> => {
    for (let round = 0; !isOver; round += 1) {
      const name = `upgrade/p${number}:r${round}`;
      const digest = await push(url, name);
      pushed.set(name, digest);
      await pull(url, name, digest);
      rounds[number] = round + 1;
    }
  };
  const all = Promise.all(rounds.map((_, number) => client(number))).then(() => undefined);
  // Whoever waits for it hears of it.
  all.catch(() => {
    isOver = true;
  });
  return {
    pushed,
    goOn: async () => {
      const before = [...rounds];
      const hasGoneOn = async (): Promise<void> => {
        while (!isOver && rounds.some((round, number) => round < (before[number] ?? 0) + 2)) await sleep(20);
      };
      await Promise.race([all, hasGoneOn()]);
    },
    end: async () => {
      isOver = true;
      await all;
    },
  };
}

/** A layer in two chunks, a config, a manifest; each request at whatever node is next. */
async function push(url: string, name: string): Promise<string> {
  const [repository = '', tag = ''] = name.split(':');
  const layer = randomBytes(LAYER_BYTES);
  const begun = await ask(`${url}/v2/${repository}/blobs/uploads/`, { method: 'POST', expected: 202 });
  let place = new URL(begun.location, url);
  for (const chunk of [layer.subarray(0, LAYER_BYTES / 2), layer.subarray(LAYER_BYTES / 2)]) {
    const answer = await ask(place, { method: 'PATCH', body: chunk, expected: 202 });
    place = new URL(answer.location, url);
  }
  place.searchParams.set('digest', digestOf(layer));
  await ask(place, { method: 'PUT', expected: 201 });
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', of: name }));
  const whole = `${url}/v2/${repository}/blobs/uploads/?digest=${digestOf(config)}`;
  await ask(whole, { method: 'POST', body: config, expected: 201 });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: descriptor('application/vnd.oci.image.config.v1+json', config),
      layers: [descriptor('application/vnd.oci.image.layer.v1.tar', layer)],
    }),
  );
  const to = `${url}/v2/${repository}/manifests/${tag}`;
  await ask(to, { method: 'PUT', body: manifest, type: MANIFEST_TYPE, expected: 201 });
  return digestOf(manifest);
}

const descriptor = (mediaType: string, bytes: Buffer) => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.byteLength,
});

/** Everything of an image, checked against its digests. */
async function pull(url: string, name: string, digest: string): Promise<void> {
  const [repository = '', tag = ''] = name.split(':');
  const { body } = await ask(`${url}/v2/${repository}/manifests/${tag}`, { method: 'GET', expected: 200 });
  assert.equal(digestOf(body), digest);
  const { config, layers } = JSON.parse(body.toString()) as {
    config: { digest: string };
    layers: { digest: string }[];
  };
  for (const blob of [config, ...layers]) {
    const answer = await ask(`${url}/v2/${repository}/blobs/${blob.digest}`, {
      method: 'GET',
      expected: 200,
    });
    assert.equal(digestOf(answer.body), blob.digest);
  }
}

interface Question {
  readonly method: string;
  readonly expected: number;
  readonly body?: Buffer;
  readonly type?: string;
}

/** On a connection of its own, and never again when it fails: a client that tries again would hide what is looked for. */
async function ask(
  url: string | URL,
  { method, expected, body, type = 'application/octet-stream' }: Question,
): Promise<{ readonly location: string; readonly body: Buffer }> {
  const connection = openConnection(new URL(url).origin);
  try {
    const answer = await connection.ask(String(url), {
      method,
      headers: { ...HEADERS, Accept: MANIFEST_TYPE, 'Content-Type': type },
      ...(body === undefined ? {} : { body }),
    });
    assert.equal(answer.status, expected, `${method} ${String(url)}: ${answer.text}`);
    return { location: answer.headers.location ?? '', body: answer.body };
  } finally {
    connection.close();
  }
}
