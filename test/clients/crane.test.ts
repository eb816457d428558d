import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
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
} from '../harness/client-world.ts';
import { trustEnvironment, writeDockerConfig } from '../harness/docker-config.ts';
import { type CommandResult, runCommand } from '../harness/docker-engine.ts';
import { readLayoutBlobs, sha256, tarOf, writeLayout } from '../harness/oci-layout.ts';

describe('crane', () => {
  let world: ClientWorld;
  before(async () => {
    world = await startClientWorld();
  });
  after(() => world.stop());

  const fresh = () => mkdtempSync(join(world.directory, 'crane-'));

  function crane(endpoint: Endpoint, user: User | null, args: readonly string[]): Promise<CommandResult> {
    const config = fresh();
    writeDockerConfig(config, endpoint, user);
    return runCommand(requireTool('crane'), args, {
      env: { DOCKER_CONFIG: config, ...trustEnvironment(endpoint) },
    });
  }

  async function admin(...args: string[]): Promise<string> {
    const result = await crane(world.plain, ADMIN, args);
    assert.equal(result.code, 0, `crane ${args.join(' ')}: ${result.stderr}`);
    return result.stdout.trim();
  }

  const client: MatrixClient = {
    push: (endpoint, user, name, tag) =>
      crane(endpoint, user, ['push', writeLayout(fresh()).directory, `${endpoint.host}/${name}:${tag}`]),
    pull: (endpoint, user, name, tag) =>
      crane(endpoint, user, [
        'pull',
        '--format=oci',
        `${endpoint.host}/${name}:${tag}`,
        join(fresh(), 'out'),
      ]),
  };
  itHonoursRights(client, () => world);

  it('push, pull and validate, of an index, keep every byte', async () => {
    const source = writeLayout(fresh(), { architectures: ['amd64', 'arm64'] });
    const target = join(fresh(), 'out');
    const reference = `${world.plain.host}/team/crane:1`;
    await admin('push', '--index', source.directory, reference);
    await admin('validate', '--remote', reference);
    // With --index, crane pushes the layout's own list of images, not the one index that it names.
    const top = sha256(readFileSync(join(source.directory, 'index.json')));
    assert.equal(await admin('digest', reference), top);
    await admin('pull', '--format=oci', reference, target);
    assert.deepEqual(
      [...readLayoutBlobs(target).keys()].sort(),
      [...readLayoutBlobs(source.directory).keys(), top].sort(),
    );
  });

  it('copy, append, mutate and index, on what is there, make images that validate', async () => {
    const host = world.plain.host;
    const source = writeLayout(fresh());
    await admin('push', source.directory, `${host}/team/base:1`);
    await admin('copy', `${host}/team/base:1`, `${host}/other/copy:1`);
    assert.equal(await admin('digest', `${host}/other/copy:1`), source.digest);

    const layer = join(fresh(), 'layer.tar');
    writeFileSync(layer, tarOf('added.txt', Buffer.from('added')));
    await admin('append', '-b', `${host}/team/base:1`, '-f', layer, '-t', `${host}/team/base:appended`);
    await admin('mutate', `${host}/team/base:appended`, '--label', 'a=b', '-t', `${host}/team/base:mutated`);
    await admin('validate', '--remote', `${host}/team/base:mutated`);
    await admin(
      'index',
      'append',
      '-m',
      `${host}/team/base:1`,
      '-m',
      `${host}/team/base:mutated`,
      '-t',
      `${host}/team/base:index`,
    );
    await admin('validate', '--remote', `${host}/team/base:index`);
    await admin('tag', `${host}/team/base:1`, 'also');
    assert.deepEqual((await admin('ls', `${host}/team/base`)).split('\n').sort(), [
      '1',
      'also',
      'appended',
      'index',
      'mutated',
    ]);
    const catalog = (await admin('catalog', host)).split('\n');
    assert.ok(catalog.includes('team/base') && catalog.includes('other/copy'), catalog.join());
  });

  it('delete, of a manifest by digest, takes its tags along', async () => {
    const host = world.plain.host;
    const source = writeLayout(fresh());
    await admin('push', source.directory, `${host}/team/deleted:1`);
    await admin('delete', `${host}/team/deleted@${source.digest}`);
    assert.notEqual((await crane(world.plain, ADMIN, ['digest', `${host}/team/deleted:1`])).code, 0);
  });

  it('login, then blob, with the stored credentials, reads a layer', async () => {
    const host = world.plain.host;
    const source = writeLayout(fresh());
    await admin('push', source.directory, `${host}/team/blob:1`);
    const config = fresh();
    mkdirSync(config, { recursive: true });
    const env = { DOCKER_CONFIG: config };
    const login = await runCommand(
      requireTool('crane'),
      ['auth', 'login', host, '-u', ADMIN.name, '-p', ADMIN.password],
      { env },
    );
    assert.equal(login.code, 0, login.stderr);
    const [digest] = [...readLayoutBlobs(source.directory).keys()].filter((name) => name !== source.digest);
    const blob = await runCommand(requireTool('crane'), ['blob', `${host}/team/blob@${digest}`], { env });
    assert.equal(blob.code, 0, blob.stderr);
  });
});
