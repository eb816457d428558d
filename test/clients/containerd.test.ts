import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { itHonoursRights, type MatrixClient } from '../harness/access-matrix.ts';
import {
  ADMIN,
  type ClientWorld,
  type Endpoint,
  startClientWorld,
  type User,
} from '../harness/client-world.ts';
import { type Containerd, startContainerd } from '../harness/containerd.ts';
import { type CommandResult, runCommand } from '../harness/docker-engine.ts';
import { type LayoutImage, readLayoutBlobs, sha256, writeLayout } from '../harness/oci-layout.ts';

describe('containerd', () => {
  let world: ClientWorld;
  let containerd: Containerd;
  before(async () => {
    world = await startClientWorld();
    containerd = await startContainerd(world.directory);
  });
  after(async () => {
    await containerd?.stop();
    await world?.stop();
  });

  const fresh = () => mkdtempSync(join(world.directory, 'ctr-'));
  const access = (endpoint: Endpoint, user: User | null) => [
    ...(user === null ? [] : ['--user', `${user.name}:${user.password}`]),
    ...(endpoint.authorityFile === null ? ['--plain-http'] : ['--hosts-dir', hostsFolder(endpoint)]),
  ];

  /** For localhost, containerd takes TLS only from a folder of hosts. */
  function hostsFolder(endpoint: Endpoint): string {
    const folder = fresh();
    mkdirSync(join(folder, endpoint.host));
    const [url, authority] = [endpoint.url, endpoint.authorityFile].map((value) => JSON.stringify(value));
    writeFileSync(
      join(folder, endpoint.host, 'hosts.toml'),
      `server = ${url}\n\n[host.${url}]\n  ca = ${authority}\n`,
    );
    return folder;
  }

  async function ctr(...args: string[]): Promise<string> {
    const result = await containerd.ctr(args);
    assert.equal(result.code, 0, `ctr ${args.join(' ')}: ${result.stdout}${result.stderr}`);
    return result.stdout.trim();
  }

  /** Brings an image into containerd under the name that it is pushed to. */
  async function importImage(name: string, tag: string, architectures?: string[]): Promise<LayoutImage> {
    const layout = writeLayout(fresh(), { tag, ...(architectures === undefined ? {} : { architectures }) });
    const archive = join(fresh(), 'image.tar');
    const packed = await runCommand('tar', ['-cf', archive, '-C', layout.directory, '.']);
    assert.equal(packed.code, 0, packed.stderr);
    await ctr('images', 'import', '--no-unpack', '--all-platforms', '--base-name', name, archive);
    return layout;
  }

  const push = (endpoint: Endpoint, user: User | null, reference: string): Promise<CommandResult> =>
    containerd.ctr(['images', 'push', ...access(endpoint, user), reference]);
  const pull = (endpoint: Endpoint, user: User | null, reference: string, more: readonly string[] = []) =>
    containerd.ctr([
      'images',
      'pull',
      '--snapshotter',
      'native',
      ...access(endpoint, user),
      ...more,
      reference,
    ]);
  /** With all its content: the next pull has to fetch everything. */
  const remove = (reference: string) => ctr('images', 'rm', '--sync', reference);

  const client: MatrixClient = {
    push: async (endpoint, user, name, tag) => {
      const reference = `${endpoint.host}/${name}:${tag}`;
      await importImage(`${endpoint.host}/${name}`, tag);
      const result = await push(endpoint, user, reference);
      await remove(reference);
      return result;
    },
    pull: async (endpoint, user, name, tag) => {
      const reference = `${endpoint.host}/${name}:${tag}`;
      const result = await pull(endpoint, user, reference);
      if (result.code === 0) await remove(reference);
      return result;
    },
  };
  itHonoursRights(client, () => world);

  async function contentDigests(): Promise<string[]> {
    return (await ctr('content', 'ls', '--quiet')).split('\n').filter((line) => line !== '');
  }

  for (const architectures of [undefined, ['amd64', 'arm64', 's390x']]) {
    const what = architectures === undefined ? 'an image' : 'an index of three architectures';
    it(`push, rm and pull, of ${what}, bring every byte back`, async () => {
      const name = `${world.plain.host}/core/${architectures === undefined ? 'image' : 'index'}`;
      const layout = await importImage(name, '1', architectures);
      const pushed = await push(world.plain, ADMIN, `${name}:1`);
      assert.equal(pushed.code, 0, pushed.stderr);
      await remove(`${name}:1`);
      const sent = [...readLayoutBlobs(layout.directory).keys()].sort();
      const left = await contentDigests();
      assert.deepEqual(
        sent.filter((digest) => left.includes(digest)),
        [],
      );
      const pulled = await pull(world.plain, ADMIN, `${name}:1`, ['--all-platforms']);
      assert.equal(pulled.code, 0, pulled.stderr);
      assert.match(await ctr('images', 'ls', `name==${name}:1`), new RegExp(layout.digest));
      const received = await contentDigests();
      assert.deepEqual(
        sent.filter((digest) => !received.includes(digest)),
        [],
      );
      await remove(`${name}:1`);
    });
  }

  it('content fetch by digest and export, of what was pushed, give its bytes', async () => {
    const name = `${world.plain.host}/core/fetched`;
    const layout = await importImage(name, '1');
    assert.equal((await push(world.plain, ADMIN, `${name}:1`)).code, 0);
    await remove(`${name}:1`);
    const reference = `${name}@${layout.digest}`;
    await ctr('content', 'fetch', ...access(world.plain, ADMIN), reference);
    const archive = join(fresh(), 'out.tar');
    await ctr('images', 'export', '--all-platforms', archive, reference);
    const folder = fresh();
    assert.equal((await runCommand('tar', ['-xf', archive, '-C', folder])).code, 0);
    for (const digest of readLayoutBlobs(layout.directory).keys()) {
      assert.equal(sha256(readFileSync(join(folder, 'blobs', digest.replace(':', '/')))), digest);
    }
  });

  it('push of a second tag and to a second repository, of layers that are there, succeeds', async () => {
    const name = `${world.plain.host}/core/shared`;
    const layout = await importImage(name, '1');
    assert.equal((await push(world.plain, ADMIN, `${name}:1`)).code, 0);
    for (const target of [`${name}:2`, `${world.plain.host}/team/shared:1`]) {
      await ctr('images', 'tag', `${name}:1`, target);
      const pushed = await push(world.plain, ADMIN, target);
      assert.equal(pushed.code, 0, pushed.stderr);
      const resolved = await containerd.ctr([
        'content',
        'fetch',
        '--metadata-only',
        ...access(world.plain, ADMIN),
        target,
      ]);
      assert.equal(resolved.code, 0, resolved.stderr);
      assert.match(await ctr('images', 'ls', `name==${target}`), new RegExp(layout.digest));
    }
  });
});
