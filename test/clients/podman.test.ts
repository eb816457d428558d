import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { itHonoursRights, type MatrixClient } from '../harness/access-matrix.ts';
import {
  ADMIN,
  type ClientWorld,
  type Endpoint,
  startClientWorld,
  type User,
  WRONG,
} from '../harness/client-world.ts';
import { type ContainersStorage, createContainersStorage } from '../harness/containers-storage.ts';
import { sha256, tarOf } from '../harness/oci-layout.ts';

let world: ClientWorld;
let storage: ContainersStorage;
before(async () => {
  world = await startClientWorld();
  storage = createContainersStorage(world.directory);
});
after(async () => {
  storage?.dispose();
  await world?.stop();
});

const fresh = () => mkdtempSync(join(world.directory, 'podman-'));
const trust = (endpoint: Endpoint) =>
  endpoint.authorityFile === null ? '--tls-verify=false' : `--cert-dir=${dirname(endpoint.authorityFile)}`;
const withCredentials = (user: User | null) =>
  user === null ? [] : [`--creds=${user.name}:${user.password}`];

async function run(tool: 'podman' | 'buildah', ...args: string[]): Promise<string> {
  const result = await storage.run(tool, args);
  assert.equal(result.code, 0, `${tool} ${args.join(' ')}: ${result.stdout}${result.stderr}`);
  return result.stdout.trim();
}

/** An image that no other test has, in the storage. */
async function importImage(reference: string, sizeBytes = 50_000): Promise<string> {
  const file = join(fresh(), 'image.tar');
  writeFileSync(file, tarOf('content.bin', randomBytes(sizeBytes)));
  return (await run('podman', 'import', file, reference)).split('\n').at(-1) ?? '';
}

const imageId = (reference: string) => run('podman', 'image', 'inspect', '--format', '{{.Id}}', reference);

function matrixClient(tool: 'podman' | 'buildah'): MatrixClient {
  return {
    push: async (endpoint, user, name, tag) => {
      const reference = `${endpoint.host}/${name}:${tag}`;
      await importImage(reference);
      const result = await storage.run(tool, ['push', ...withCredentials(user), trust(endpoint), reference]);
      await run('podman', 'rmi', '-f', reference);
      return result;
    },
    pull: async (endpoint, user, name, tag) => {
      const reference = `${endpoint.host}/${name}:${tag}`;
      const result = await storage.run(tool, ['pull', ...withCredentials(user), trust(endpoint), reference]);
      if (result.code === 0) await run('podman', 'rmi', '-f', reference);
      return result;
    },
  };
}

describe('podman', () => {
  itHonoursRights(matrixClient('podman'), () => world);

  it('login, with the right and a wrong password, succeeds and fails, and logout forgets', async () => {
    const { host } = world.plain;
    const authFile = join(fresh(), 'auth.json');
    const login = ({ name, password }: User) =>
      storage.run('podman', ['login', host, '-u', name, '--password-stdin', '--tls-verify=false'], {
        stdin: password,
        authFile,
      });
    const wrong = await login(WRONG);
    assert.notEqual(wrong.code, 0);
    assert.match(wrong.stderr, /invalid username\/password|unauthorized/i);
    assert.equal((await login(ADMIN)).code, 0);
    const reference = `${host}/core/login:1`;
    await importImage(reference);
    const push = () => storage.run('podman', ['push', '--tls-verify=false', reference], { authFile });
    assert.equal((await push()).code, 0);
    assert.equal((await storage.run('podman', ['logout', host], { authFile })).code, 0);
    assert.notEqual((await push()).code, 0);
  });

  for (const format of ['oci', 'v2s2']) {
    it(`push as ${format}, rmi and pull, bring the same image back under the digest that was pushed`, async () => {
      const reference = `${world.plain.host}/core/round-${format}:1`;
      await importImage(reference, 3_000_000);
      const before = await imageId(reference);
      const digestFile = join(fresh(), 'digest');
      await run(
        'podman',
        'push',
        ...withCredentials(ADMIN),
        '--tls-verify=false',
        `--format=${format}`,
        `--digestfile=${digestFile}`,
        reference,
      );
      const digest = readFileSync(digestFile, 'utf8');
      await run('podman', 'rmi', '-f', reference);
      const byDigest = `${world.plain.host}/core/round-${format}@${digest}`;
      await run('podman', 'pull', ...withCredentials(ADMIN), '--tls-verify=false', byDigest);
      await run('podman', 'pull', ...withCredentials(ADMIN), '--tls-verify=false', reference);
      const stored = await run('podman', 'image', 'inspect', '--format', '{{.Digest}}', byDigest);
      assert.equal(stored, digest);
      if (format === 'v2s2') assert.equal(await imageId(reference), before);
      await run('podman', 'rmi', '-f', await imageId(reference));
    });
  }

  it('manifest push --all, of a list of two images, and pulls by architecture, bring each image back', async () => {
    const list = `${world.plain.host}/core/list:1`;
    const access = [...withCredentials(ADMIN), '--tls-verify=false'];
    await run('podman', 'manifest', 'create', list);
    const ids = new Map<string, string>();
    for (const architecture of ['amd64', 'arm64']) {
      const image = `${world.plain.host}/core/list:${architecture}`;
      await importImage(image);
      ids.set(architecture, await imageId(image));
      await run('podman', 'manifest', 'add', '--arch', architecture, list, `containers-storage:${image}`);
    }
    await run('podman', 'manifest', 'push', '--all', ...access, list, `docker://${list}`);
    await run('podman', 'manifest', 'rm', list);
    for (const [architecture, id] of ids) {
      await run('podman', 'rmi', '-f', id);
      await run('podman', 'pull', ...access, '--arch', architecture, list);
      assert.equal(await imageId(list), id);
    }
  });
});

describe('buildah', () => {
  itHonoursRights(matrixClient('buildah'), () => world);

  it('bud, FROM an image that is only here, pulls it, adds a layer and pushes', async () => {
    const { host } = world.plain;
    const access = [...withCredentials(ADMIN), '--tls-verify=false'];
    const [base, target] = [`${host}/core/base:1`, `${host}/team/built:1`];
    await importImage(base);
    await run('buildah', 'push', ...access, base);
    await run('podman', 'rmi', '-f', base);
    const context = fresh();
    const content = randomBytes(1000);
    writeFileSync(join(context, 'added.bin'), content);
    writeFileSync(
      join(context, 'Containerfile'),
      `FROM ${base}\nCOPY added.bin /added.bin\nLABEL built=yes\n`,
    );
    await run('buildah', 'bud', '--isolation=chroot', ...access, '-t', target, context);
    const digestFile = join(fresh(), 'digest');
    await run('buildah', 'push', ...access, `--digestfile=${digestFile}`, target);
    await run('podman', 'rmi', '-f', target);
    await run('buildah', 'pull', ...access, target);
    const digest = await run('podman', 'image', 'inspect', '--format', '{{.Digest}}', target);
    assert.equal(digest, readFileSync(digestFile, 'utf8'));
    const container = await run('buildah', 'from', '--pull-never', target);
    const folder = await run('buildah', 'mount', container);
    assert.equal(sha256(readFileSync(join(folder, 'added.bin'))), sha256(content));
    await run('buildah', 'umount', container);
    await run('buildah', 'rm', container);
  });
});
