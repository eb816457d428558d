import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { requireTool } from '../../scripts/tools.ts';
import { itHonoursRights, type MatrixClient } from '../harness/access-matrix.ts';
import {
  ADMIN,
  type ClientWorld,
  type Endpoint,
  startClientWorld,
  type User,
  WRONG,
} from '../harness/client-world.ts';
import { startCuttingProxy } from '../harness/cutting-proxy.ts';
import { writeDockerConfig } from '../harness/docker-config.ts';
import { type CommandResult, runCommand } from '../harness/docker-engine.ts';
import { readLayoutBlobs, sha256, writeLayout } from '../harness/oci-layout.ts';

interface Discovered {
  readonly digest: string;
  readonly artifactType: string;
  readonly referrers?: readonly Discovered[];
}

describe('oras', () => {
  let world: ClientWorld;
  before(async () => {
    world = await startClientWorld();
  });
  after(() => world?.stop());

  const fresh = () => mkdtempSync(join(world.directory, 'oras-'));

  const trust = (endpoint: Endpoint, side: '' | 'from-' | 'to-' = '') =>
    endpoint.authorityFile === null
      ? [`--${side}plain-http`]
      : [`--${side}plain-http=false`, `--${side}ca-file`, endpoint.authorityFile];

  /** Oras at work in a folder; `side` where a command knows a source and a target. */
  function oras(options: {
    readonly endpoint: Endpoint;
    readonly user: User | null;
    readonly args: readonly string[];
    readonly cwd?: string;
    readonly side?: '' | 'from-' | 'to-';
  }): Promise<CommandResult> {
    const { endpoint, user, args, cwd = fresh(), side = '' } = options;
    const config = writeDockerConfig(fresh(), endpoint, user);
    return runCommand(
      requireTool('oras'),
      [...args, `--${side}registry-config`, config, ...trust(endpoint, side)],
      { cwd },
    );
  }

  async function admin(args: readonly string[], more: { cwd?: string; side?: 'from-' | 'to-' } = {}) {
    const result = await oras({ endpoint: world.plain, user: ADMIN, args, ...more });
    assert.equal(result.code, 0, `oras ${args.join(' ')}: ${result.stderr}`);
    return result.stdout.trim();
  }

  /** A folder with one file of its own content. */
  function folderWith(name: string, sizeBytes = 60_000): string {
    const folder = fresh();
    writeFileSync(join(folder, name), randomBytes(sizeBytes));
    return folder;
  }

  const client: MatrixClient = {
    push: (endpoint, user, name, tag) =>
      oras({
        endpoint,
        user,
        args: ['push', `${endpoint.host}/${name}:${tag}`, 'file.bin:application/x.file'],
        cwd: folderWith('file.bin'),
      }),
    pull: (endpoint, user, name, tag) =>
      oras({ endpoint, user, args: ['pull', `${endpoint.host}/${name}:${tag}`] }),
  };
  itHonoursRights(client, () => world);

  it('push and pull, of two files with annotations, keep every byte', async () => {
    const reference = `${world.plain.host}/team/files:1`;
    const source = folderWith('one.bin', 2_500_000);
    writeFileSync(join(source, 'two.txt'), 'two');
    const pushed = JSON.parse(
      await admin(
        [
          'push',
          reference,
          'one.bin:application/x.one',
          'two.txt',
          '--artifact-type',
          'application/x.files',
          '--annotation',
          'a=b',
          '--format',
          'json',
        ],
        { cwd: source },
      ),
    ) as { digest: string };
    assert.equal(await admin(['resolve', reference]), pushed.digest);
    const target = fresh();
    await admin(['pull', reference], { cwd: target });
    for (const name of ['one.bin', 'two.txt']) {
      assert.equal(sha256(readFileSync(join(target, name))), sha256(readFileSync(join(source, name))), name);
    }
  });

  it('attach and discover, of referrers of referrers, show the tree, and filtered one branch', async () => {
    const { host } = world.plain;
    const image = `${host}/team/tree:1`;
    await admin(['push', image, 'file.bin'], { cwd: folderWith('file.bin') });
    const attach = async (type: string, subject: string) =>
      JSON.parse(
        await admin(['attach', '--artifact-type', type, subject, 'note.txt', '--format', 'json'], {
          cwd: folderWith('note.txt', 100),
        }),
      ) as { digest: string };
    const sbom = await attach('application/x.sbom', image);
    const signature = await attach('application/x.signature', `${host}/team/tree@${sbom.digest}`);
    await attach('application/x.other', image);

    const discover = async (...args: string[]) =>
      JSON.parse(await admin(['discover', image, '--format', 'json', ...args])) as Discovered;
    const all = (await discover('--depth', '2')).referrers ?? [];
    assert.deepEqual(all.map(({ artifactType }) => artifactType).sort(), [
      'application/x.other',
      'application/x.sbom',
    ]);
    const nested = all.find(({ digest }) => digest === sbom.digest)?.referrers;
    assert.deepEqual(
      nested?.map(({ digest }) => digest),
      [signature.digest],
    );
    const filtered = (await discover('--artifact-type', 'application/x.sbom')).referrers ?? [];
    assert.deepEqual(
      filtered.map(({ digest }) => digest),
      [sbom.digest],
    );
  });

  it('cp -r, of an index with a referrer, to another repository, takes both along', async () => {
    const { host } = world.plain;
    const layout = writeLayout(fresh(), { architectures: ['amd64', 'arm64'] });
    const [first, second] = [`${host}/team/copied:1`, `${host}/other/copied:1`];
    await admin(['cp', '--from-oci-layout', `${layout.directory}:latest`, first], { side: 'to-' });
    await admin(['attach', '--artifact-type', 'application/x.note', first, 'note.txt'], {
      cwd: folderWith('note.txt', 100),
    });
    await admin(['cp', '-r', first, second, '--to-plain-http', '--to-registry-config', configOf(ADMIN)], {
      side: 'from-',
    });
    assert.equal(await admin(['resolve', second]), layout.digest);
    const found = JSON.parse(await admin(['discover', second, '--format', 'json'])) as Discovered;
    assert.deepEqual(
      found.referrers?.map(({ artifactType }) => artifactType),
      ['application/x.note'],
    );
  });

  it('cp to a layout, begun again after the line broke, fetches only what is missing', async () => {
    const layout = writeLayout(fresh(), { layers: 3 });
    const target = join(fresh(), 'out');
    await admin(
      ['cp', '--from-oci-layout', `${layout.directory}:latest`, `${world.plain.host}/team/resume:1`],
      { side: 'to-' },
    );
    const proxy = await startCuttingProxy(world.plain);
    try {
      const digests = [...readLayoutBlobs(layout.directory)].filter(([, { length }]) => length > 60_000);
      const [lost] = digests.at(-1) ?? [''];
      const copy = () =>
        oras({
          endpoint: proxy.endpoint,
          user: ADMIN,
          side: 'from-',
          args: [
            'cp',
            '--concurrency',
            '1',
            '--to-oci-layout',
            `${proxy.endpoint.host}/team/resume:1`,
            `${target}:1`,
          ],
        });
      proxy.cutNext(`/blobs/${lost}`, 20_000);
      assert.notEqual((await copy()).code, 0);
      const whole = proxy.seen.filter(
        ({ method, path, status }) =>
          method === 'GET' && status === 200 && path.includes('/blobs/') && !path.includes(lost),
      );
      const before = proxy.seen.length;
      const again = await copy();
      assert.equal(again.code, 0, again.stderr);
      const refetched = proxy.seen
        .slice(before)
        .filter(({ method, path }) => method === 'GET' && whole.some((one) => one.path === path));
      assert.deepEqual(refetched, []);
      const [sent, received] = [readLayoutBlobs(layout.directory), readLayoutBlobs(target)];
      assert.deepEqual([...received.keys()].sort(), [...sent.keys()].sort());
    } finally {
      await proxy.stop();
    }
  });

  it('backup and restore, of a repository, bring its tags and digests back', async () => {
    const { host } = world.plain;
    const layout = writeLayout(fresh());
    const backup = join(fresh(), 'backup');
    await admin(['cp', '--from-oci-layout', `${layout.directory}:latest`, `${host}/team/backup:1,2`], {
      side: 'to-',
    });
    await admin(['backup', '--output', backup, `${host}/team/backup:1,2`]);
    await admin(['restore', '--input', backup, `${host}/other/restored:1,2`]);
    assert.deepEqual((await admin(['repo', 'tags', `${host}/other/restored`])).split('\n').sort(), [
      '1',
      '2',
    ]);
    assert.equal(await admin(['resolve', `${host}/other/restored:2`]), layout.digest);
  });

  it('blob push, fetch and delete, and manifest delete, of what is there, do so', async () => {
    const { host } = world.plain;
    const folder = folderWith('blob.bin');
    const digest = sha256(readFileSync(join(folder, 'blob.bin')));
    await admin(['blob', 'push', `${host}/team/blobs`, 'blob.bin'], { cwd: folder });
    await admin(['blob', 'fetch', '--output', 'back.bin', `${host}/team/blobs@${digest}`], { cwd: folder });
    assert.equal(sha256(readFileSync(join(folder, 'back.bin'))), digest);
    await admin(['blob', 'delete', '--force', `${host}/team/blobs@${digest}`]);
    await admin(['push', `${host}/team/blobs:1`, 'blob.bin'], { cwd: folder });
    await admin(['tag', `${host}/team/blobs:1`, 'also']);
    await admin(['manifest', 'delete', '--force', `${host}/team/blobs:1`]);
    assert.notEqual(
      (await oras({ endpoint: world.plain, user: ADMIN, args: ['resolve', `${host}/team/blobs:also`] })).code,
      0,
    );
    assert.match(await admin(['repo', 'ls', host]), /^team\/files$/m);
  });

  it('login, with the right and a wrong password, succeeds and fails', async () => {
    const login = async ({ name, password }: User) => {
      const config = join(fresh(), 'config.json');
      const args = ['login', world.plain.host, '--plain-http', '--registry-config', config, '-u', name];
      return (await runCommand(requireTool('oras'), [...args, '--password-stdin'], { stdin: password })).code;
    };
    assert.equal(await login(ADMIN), 0);
    assert.notEqual(await login(WRONG), 0);
  });

  function configOf(user: User): string {
    return writeDockerConfig(fresh(), world.plain, user);
  }
});
