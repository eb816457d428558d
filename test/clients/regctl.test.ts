import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
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
import { trustEnvironment, writeDockerConfig } from '../harness/docker-config.ts';
import { type CommandResult, runCommand } from '../harness/docker-engine.ts';
import { readLayoutBlobs, sha256, writeLayout } from '../harness/oci-layout.ts';

describe('regctl', () => {
  let world: ClientWorld;
  before(async () => {
    world = await startClientWorld();
  });
  after(() => world?.stop());

  const fresh = () => mkdtempSync(join(world.directory, 'regctl-'));

  function regctlAt(
    home: string,
    endpoint: Endpoint,
    args: readonly string[],
    stdin = '',
  ): Promise<CommandResult> {
    const tls = endpoint.authorityFile === null ? 'disabled' : 'enabled';
    return runCommand(requireTool('regctl'), ['--host', `reg=${endpoint.host},tls=${tls}`, ...args], {
      env: {
        DOCKER_CONFIG: home,
        REGCTL_CONFIG: join(home, 'regctl.json'),
        ...trustEnvironment(endpoint),
      },
      stdin,
    });
  }

  function regctl(endpoint: Endpoint, user: User | null, args: readonly string[]): Promise<CommandResult> {
    const home = fresh();
    writeDockerConfig(home, endpoint, user);
    return regctlAt(home, endpoint, args);
  }

  async function admin(...args: string[]): Promise<string> {
    const result = await regctl(world.plain, ADMIN, args);
    assert.equal(result.code, 0, `regctl ${args.join(' ')}: ${result.stderr}`);
    return result.stdout.trim();
  }

  const client: MatrixClient = {
    push: (endpoint, user, name, tag) =>
      regctl(endpoint, user, [
        'image',
        'copy',
        `ocidir://${writeLayout(fresh()).directory}:latest`,
        `${endpoint.host}/${name}:${tag}`,
      ]),
    pull: (endpoint, user, name, tag) =>
      regctl(endpoint, user, [
        'image',
        'copy',
        `${endpoint.host}/${name}:${tag}`,
        `ocidir://${fresh()}/out:1`,
      ]),
  };
  itHonoursRights(client, () => world);

  /** Pushes an image from a layout and gives what was pushed. */
  async function push(reference: string, options: Parameters<typeof writeLayout>[1] = {}) {
    const source = writeLayout(fresh(), options);
    await admin('image', 'copy', `ocidir://${source.directory}:latest`, `${world.plain.host}/${reference}`);
    return source;
  }

  it('image copy, of an index with referrers and digest tags, takes everything along both ways', async () => {
    const { host } = world.plain;
    const source = await push('team/full:1', { architectures: ['amd64', 'arm64'] });
    const note = join(fresh(), 'note.txt');
    writeFileSync(note, 'a note');
    const put = (...args: string[]) =>
      admin('artifact', 'put', '--artifact-type', 'application/x.note', '-f', note, ...args);
    await put('--subject', `${host}/team/full:1`);
    await put(`${host}/team/full:${source.digest.replace(':', '-')}.note`);

    await admin(
      'image',
      'copy',
      '--referrers',
      '--digest-tags',
      `${host}/team/full:1`,
      `${host}/other/full:1`,
    );
    assert.equal(await admin('image', 'digest', `${host}/other/full:1`), source.digest);
    const listed = JSON.parse(
      await admin('artifact', 'list', `${host}/other/full:1`, '--format', '{{json .}}'),
    ) as { descriptors: { artifactType: string }[] };
    assert.deepEqual(
      listed.descriptors.map(({ artifactType }) => artifactType),
      ['application/x.note'],
    );
    assert.deepEqual((await admin('tag', 'ls', `${host}/other/full`)).split('\n').sort(), [
      '1',
      `${source.digest.replace(':', '-')}.note`,
    ]);

    const target = join(fresh(), 'out');
    await admin('image', 'copy', `${host}/other/full:1`, `ocidir://${target}:1`);
    const [sent, received] = [readLayoutBlobs(source.directory), readLayoutBlobs(target)];
    assert.deepEqual([...received.keys()].sort(), [...sent.keys()].sort());
  });

  it('artifact list and tree, filtered by type, show the referrers of that type', async () => {
    const { host } = world.plain;
    await push('team/refs:1');
    const file = join(fresh(), 'file');
    for (const type of ['application/x.a', 'application/x.b']) {
      writeFileSync(file, type);
      await admin('artifact', 'put', '--artifact-type', type, '-f', file, '--subject', `${host}/team/refs:1`);
    }
    const filtered = JSON.parse(
      await admin(
        'artifact',
        'list',
        `${host}/team/refs:1`,
        '--filter-artifact-type',
        'application/x.b',
        '--format',
        '{{json .}}',
      ),
    ) as { descriptors: { artifactType: string; digest: string }[] };
    assert.equal(filtered.descriptors.length, 1);
    assert.equal(filtered.descriptors[0]?.artifactType, 'application/x.b');
    const tree = await admin('artifact', 'tree', `${host}/team/refs:1`);
    assert.match(tree, /application\/x\.a/);
    const got = await admin('artifact', 'get', `${host}/team/refs@${filtered.descriptors[0]?.digest}`);
    assert.equal(got, 'application/x.b');
  });

  it('blob get, over a line that breaks, asks for the missing range and ends with the whole blob', async () => {
    const { plain } = world;
    const source = await push('team/ranges:1');
    const [digest, bytes] = largest(readLayoutBlobs(source.directory));
    const proxy = await startCuttingProxy(plain);
    try {
      const home = fresh();
      writeDockerConfig(home, proxy.endpoint, ADMIN);
      proxy.cutNext(`/blobs/${digest}`, 30_000);
      const repository = `${proxy.endpoint.host}/team/ranges`;
      // In hex, because the blob is no text.
      const format = '{{ printf "%x" .RawBody }}';
      const got = await regctlAt(home, proxy.endpoint, [
        'blob',
        'get',
        repository,
        digest,
        '--format',
        format,
      ]);
      assert.equal(got.code, 0, got.stderr);
      assert.equal(sha256(Buffer.from(got.stdout.trim(), 'hex')), digest);
      const resumed = proxy.seen.find(({ path, range }) => path.includes(digest) && range !== null);
      assert.equal(resumed?.status, 206);
      assert.match(
        resumed?.contentRange ?? '',
        new RegExp(`^bytes \\d+-${bytes.length - 1}/${bytes.length}$`),
      );
    } finally {
      await proxy.stop();
    }
  });

  it('blob put in small chunks, head and delete, of one blob, do so', async () => {
    const { plain } = world;
    const home = fresh();
    writeDockerConfig(home, plain, ADMIN);
    const set = [
      'registry',
      'set',
      plain.host,
      '--tls',
      'disabled',
      '--blob-chunk',
      '7000',
      '--blob-max',
      '7000',
    ];
    const run = async (args: string[], stdin = '') => {
      const result = await regctlAt(home, plain, args, stdin);
      assert.equal(result.code, 0, `regctl ${args.join(' ')}: ${result.stderr}`);
      return result.stdout.trim();
    };
    await run(set);
    const content = 'chunk by chunk '.repeat(4000);
    const digest = sha256(Buffer.from(content));
    const repository = `${plain.host}/team/chunks`;
    assert.equal(await run(['blob', 'put', repository], content), digest);
    assert.equal(await run(['blob', 'get', repository, digest]), content.trim());
    await run(['blob', 'head', repository, digest]);
    await run(['blob', 'delete', repository, digest]);
    assert.notEqual((await regctlAt(home, plain, ['blob', 'head', repository, digest])).code, 0);
  });

  it('tag delete, of one of two tags of a manifest, leaves the other and the manifest', async () => {
    const { host } = world.plain;
    const source = await push('team/tags:keep');
    await admin('image', 'copy', `${host}/team/tags:keep`, `${host}/team/tags:go`);
    await admin('tag', 'delete', `${host}/team/tags:go`);
    assert.deepEqual((await admin('tag', 'ls', `${host}/team/tags`)).split('\n'), ['keep']);
    assert.equal(await admin('image', 'digest', `${host}/team/tags:keep`), source.digest);
    assert.match(await admin('repo', 'ls', host), /^team\/tags$/m);
    await admin('manifest', 'delete', `${host}/team/tags@${source.digest}`);
    assert.notEqual(
      (await regctl(world.plain, ADMIN, ['manifest', 'head', `${host}/team/tags:keep`])).code,
      0,
    );
  });

  it('registry login, with the right and a wrong password, succeeds and fails', async () => {
    const login = ({ name, password }: User) =>
      regctlAt(
        fresh(),
        world.plain,
        ['registry', 'login', world.plain.host, '-u', name, '--pass-stdin'],
        password,
      );
    assert.equal((await login(ADMIN)).code, 0);
    assert.notEqual((await login(WRONG)).code, 0);
  });
});

function largest(blobs: ReadonlyMap<string, Buffer>): [string, Buffer] {
  const [found] = [...blobs].sort(([, a], [, b]) => b.length - a.length);
  if (found === undefined) throw new Error('the layout is empty');
  return found;
}
