import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
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
import { type DockerEngine, startDockerEngine } from '../harness/docker-engine.ts';
import { tarOf } from '../harness/oci-layout.ts';

describe('docker', () => {
  let world: ClientWorld;
  let engine: DockerEngine;
  before(async () => {
    world = await startClientWorld();
    engine = await startDockerEngine();
    engine.trust(world.tls.host, world.tls.authorityFile ?? '');
  });
  after(async () => {
    await engine?.stop();
    await world?.stop();
  });

  /** An image that no other test has, in the engine. */
  async function importImage(reference: string, sizeBytes = 50_000): Promise<string> {
    const file = join(mkdtempSync(join(world.directory, 'docker-')), 'image.tar');
    writeFileSync(file, tarOf('content.bin', randomBytes(sizeBytes)));
    return (await engine.docker(['import', file, reference])).stdout.trim();
  }

  async function imageId(reference: string): Promise<string> {
    return (await engine.docker(['image', 'inspect', '--format', '{{.Id}}', reference])).stdout.trim();
  }

  /** A client configuration of its own for each user and registry, logged in (or failing to). */
  async function loggedIn(endpoint: Endpoint, user: User | null): Promise<string> {
    const config = `config-${user === null ? 'nobody' : `${user.name}-${user.password}`}`;
    if (user !== null) {
      await engine.tryDocker(['login', endpoint.host, '-u', user.name, '--password-stdin'], {
        config,
        stdin: user.password,
      });
    }
    return config;
  }

  const client: MatrixClient = {
    push: async (endpoint, user, name, tag) => {
      const reference = `${endpoint.host}/${name}:${tag}`;
      await importImage(reference);
      const result = await engine.tryDocker(['push', reference], { config: await loggedIn(endpoint, user) });
      await engine.docker(['rmi', '-f', reference]);
      return result;
    },
    pull: async (endpoint, user, name, tag) =>
      engine.tryDocker(['pull', `${endpoint.host}/${name}:${tag}`], {
        config: await loggedIn(endpoint, user),
      }),
  };
  itHonoursRights(client, () => world);

  it('login, with the right and a wrong password, succeeds and fails', async () => {
    const { host } = world.plain;
    const login = (password: string) =>
      engine.tryDocker(['login', host, '-u', ADMIN.name, '-p', password], { config: 'config-login' });
    assert.equal((await login(ADMIN.password)).code, 0);
    const wrong = await login('nope');
    assert.notEqual(wrong.code, 0);
    assert.match(wrong.stderr, /unauthorized|authentication required|incorrect/i);
  });

  it("the README's lines, login, tag, push, rmi and pull, bring the same image back", async () => {
    const { host } = world.plain;
    await engine.docker(['login', host, '-u', ADMIN.name, '-p', ADMIN.password]);
    await importImage('alpine:3');
    const reference = `${host}/core/alpine:3`;
    await engine.docker(['tag', 'alpine:3', reference]);
    const before = await imageId(reference);
    await engine.docker(['push', reference]);
    await engine.docker(['rmi', '-f', reference, 'alpine:3']);
    await engine.docker(['pull', reference]);
    assert.equal(await imageId(reference), before);
  });

  it('a push of shared layers, to a second repository, mounts them', async () => {
    const { host } = world.plain;
    await engine.docker(['login', host, '-u', ADMIN.name, '-p', ADMIN.password]);
    const [first, second] = [`${host}/core/shared:1`, `${host}/team/shared:1`];
    await importImage(first, 3_000_000);
    await engine.docker(['push', first]);
    await engine.docker(['tag', first, second]);
    const pushed = await engine.docker(['push', second]);
    assert.match(pushed.stdout, /Mounted from core\/shared/);
  });

  it('a build FROM an image here, classic and BuildKit, pulls, adds a layer and pushes', async () => {
    const { host } = world.plain;
    await engine.docker(['login', host, '-u', ADMIN.name, '-p', ADMIN.password]);
    const base = `${host}/core/base:1`;
    await importImage(base);
    await engine.docker(['push', base]);
    await engine.docker(['rmi', '-f', base]);
    const context = mkdtempSync(join(world.directory, 'build-'));
    writeFileSync(
      join(context, 'Dockerfile'),
      `FROM ${base}\nCOPY Dockerfile /Dockerfile\nLABEL built=yes\n`,
    );
    for (const buildKit of ['0', '1']) {
      const target = `${host}/team/built:${buildKit}`;
      await engine.docker(['build', '-t', target, context], { env: { DOCKER_BUILDKIT: buildKit } });
      await engine.docker(['push', target]);
      const built = await imageId(target);
      await engine.docker(['rmi', '-f', target]);
      await engine.docker(['pull', target]);
      assert.equal(await imageId(target), built);
    }
  });
});
