import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { requireTool } from '../../scripts/tools.ts';
import { itHonoursRights, type MatrixClient } from '../harness/access-matrix.ts';
import {
  ADMIN,
  type ClientWorld,
  type Endpoint,
  startClientWorld,
  type User,
} from '../harness/client-world.ts';
import { type CommandResult, runCommand } from '../harness/docker-engine.ts';
import { readLayoutBlobs, writeLayout } from '../harness/oci-layout.ts';

describe('skopeo', () => {
  let world: ClientWorld;
  before(async () => {
    world = await startClientWorld();
  });
  after(() => world.stop());

  const fresh = () => mkdtempSync(join(world.directory, 'skopeo-'));

  /** Options for one side of a command: `src-`, `dest-` or none. */
  function options(endpoint: Endpoint, user: User | null, side: '' | 'src-' | 'dest-'): string[] {
    const credentials =
      user === null ? [`--${side}no-creds`] : [`--${side}creds=${user.name}:${user.password}`];
    const trust =
      endpoint.authorityFile === null
        ? [`--${side}tls-verify=false`]
        : [`--${side}cert-dir=${certificateFolder(endpoint.authorityFile)}`];
    return [...credentials, ...trust];
  }

  function certificateFolder(authorityFile: string): string {
    return dirname(authorityFile);
  }

  async function skopeo(...args: string[]): Promise<CommandResult> {
    return runCommand(requireTool('skopeo'), args);
  }

  async function skopeoSucceeds(...args: string[]): Promise<string> {
    const result = await skopeo(...args);
    assert.equal(result.code, 0, `skopeo ${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  }

  const client: MatrixClient = {
    push: (endpoint, user, name, tag) => {
      const image = writeLayout(fresh());
      return skopeo(
        '--insecure-policy',
        'copy',
        ...options(endpoint, user, 'dest-'),
        `oci:${image.directory}:latest`,
        `docker://${endpoint.host}/${name}:${tag}`,
      );
    },
    pull: (endpoint, user, name, tag) =>
      skopeo(
        '--insecure-policy',
        'copy',
        ...options(endpoint, user, 'src-'),
        `docker://${endpoint.host}/${name}:${tag}`,
        `oci:${fresh()}/out:latest`,
      ),
  };
  itHonoursRights(client, () => world);

  it('copy --all, of an index of three architectures, brings every byte back', async () => {
    const { plain } = world;
    const source = writeLayout(fresh(), { architectures: ['amd64', 'arm64', 's390x'] });
    const target = join(fresh(), 'out');
    const reference = `docker://${plain.host}/team/multi:1`;
    await skopeoSucceeds(
      '--insecure-policy',
      'copy',
      '--all',
      ...options(plain, ADMIN, 'dest-'),
      `oci:${source.directory}:latest`,
      reference,
    );
    await skopeoSucceeds(
      '--insecure-policy',
      'copy',
      '--all',
      ...options(plain, ADMIN, 'src-'),
      reference,
      `oci:${target}:latest`,
    );
    const [sent, received] = [readLayoutBlobs(source.directory), readLayoutBlobs(target)];
    assert.deepEqual([...received.keys()].sort(), [...sent.keys()].sort());
    assert.ok(received.has(source.digest));
  });

  it('inspect, list-tags and delete, on a pushed image, see and remove it', async () => {
    const { plain } = world;
    const source = writeLayout(fresh());
    const reference = `docker://${plain.host}/team/gone:1`;
    await skopeoSucceeds(
      '--insecure-policy',
      'copy',
      ...options(plain, ADMIN, 'dest-'),
      `oci:${source.directory}:latest`,
      reference,
    );
    const inspected = JSON.parse(
      await skopeoSucceeds('inspect', ...options(plain, ADMIN, ''), reference),
    ) as { Digest: string };
    assert.equal(inspected.Digest, source.digest);
    const listed = JSON.parse(
      await skopeoSucceeds('list-tags', ...options(plain, ADMIN, ''), `docker://${plain.host}/team/gone`),
    ) as { Tags: string[] };
    assert.deepEqual(listed.Tags, ['1']);
    await skopeoSucceeds('delete', ...options(plain, ADMIN, ''), reference);
    assert.notEqual((await skopeo('inspect', ...options(plain, ADMIN, ''), reference)).code, 0);
  });

  it('sync, from one repository to a folder and back, keeps the digest', async () => {
    const { plain } = world;
    const source = writeLayout(fresh());
    const folder = fresh();
    await skopeoSucceeds(
      '--insecure-policy',
      'copy',
      ...options(plain, ADMIN, 'dest-'),
      `oci:${source.directory}:latest`,
      `docker://${plain.host}/team/sync:1`,
    );
    await skopeoSucceeds(
      '--insecure-policy',
      'sync',
      '--src',
      'docker',
      '--dest',
      'dir',
      ...options(plain, ADMIN, 'src-'),
      `${plain.host}/team/sync`,
      folder,
    );
    await skopeoSucceeds(
      '--insecure-policy',
      'sync',
      '--src',
      'dir',
      '--dest',
      'docker',
      ...options(plain, ADMIN, 'dest-'),
      folder,
      `${plain.host}/copied`,
    );
    const inspected = JSON.parse(
      await skopeoSucceeds('inspect', ...options(plain, ADMIN, ''), `docker://${plain.host}/copied/sync:1`),
    ) as { Digest: string };
    assert.equal(inspected.Digest, source.digest);
  });

  it('login, with an authentication file, is used by later commands', async () => {
    const { plain } = world;
    const authFile = join(fresh(), 'auth.json');
    writeFileSync(authFile, '{}');
    const login = await runCommand(
      requireTool('skopeo'),
      [
        'login',
        '--tls-verify=false',
        '--authfile',
        authFile,
        '-u',
        ADMIN.name,
        '--password-stdin',
        plain.host,
      ],
      { stdin: ADMIN.password },
    );
    assert.equal(login.code, 0, login.stderr);
    const source = writeLayout(fresh());
    await skopeoSucceeds(
      '--insecure-policy',
      'copy',
      '--dest-authfile',
      authFile,
      '--dest-tls-verify=false',
      `oci:${source.directory}:latest`,
      `docker://${plain.host}/team/login:1`,
    );
  });
});
