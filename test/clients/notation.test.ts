import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { requireTool, TOOLS_DIRECTORY } from '../../scripts/tools.ts';
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
import { writeLayout } from '../harness/oci-layout.ts';

const PROGRAM = join(TOOLS_DIRECTORY, 'notation-test', 'notation');

describe('notation-go', () => {
  let world: ClientWorld;
  let trusted: string;
  before(async () => {
    const built = await runCommand(requireTool('go'), ['build', '-buildvcs=false', '-o', PROGRAM, '.'], {
      cwd: join(import.meta.dirname, 'notation'),
    });
    assert.equal(built.code, 0, built.stderr);
    world = await startClientWorld();
    trusted = await newCertificate();
  });
  after(() => world?.stop());

  const fresh = () => mkdtempSync(join(world.directory, 'notation-'));

  async function newCertificate(): Promise<string> {
    const directory = fresh();
    const made = await runCommand(PROGRAM, ['certificate', directory]);
    assert.equal(made.code, 0, made.stderr);
    return directory;
  }

  function notation(endpoint: Endpoint, user: User | null, args: readonly string[]): Promise<CommandResult> {
    return runCommand(PROGRAM, args, {
      env: {
        ...trustEnvironment(endpoint),
        NOTATION_PLAIN_HTTP: String(endpoint.authorityFile === null),
        NOTATION_USER: user?.name ?? '',
        NOTATION_PASSWORD: user?.password ?? '',
      },
    });
  }

  async function adminSucceeds(...args: string[]): Promise<string> {
    const result = await notation(world.plain, ADMIN, args);
    assert.equal(result.code, 0, `notation ${args.join(' ')}: ${result.stderr}`);
    return result.stdout.trim();
  }

  /** There has to be an image before it can be signed; its pusher may do everything. */
  async function pushImage(endpoint: Endpoint, reference: string, architectures?: string[]): Promise<string> {
    const config = fresh();
    writeDockerConfig(config, endpoint, ADMIN);
    const env = { DOCKER_CONFIG: config, ...trustEnvironment(endpoint) };
    const layout = join(config, 'layout');
    mkdirSync(layout);
    const source = writeLayout(layout, architectures === undefined ? {} : { architectures });
    const kind = architectures === undefined ? [] : ['--index'];
    const pushed = await runCommand(
      requireTool('crane'),
      ['push', ...kind, source.directory, `${endpoint.host}/${reference}`],
      { env },
    );
    assert.equal(pushed.code, 0, pushed.stderr);
    const digest = await runCommand(requireTool('crane'), ['digest', `${endpoint.host}/${reference}`], {
      env,
    });
    assert.equal(digest.code, 0, digest.stderr);
    return digest.stdout.trim();
  }

  const client: MatrixClient = {
    push: async (endpoint, user, name, tag) => {
      const digest = await pushImage(endpoint, `${name}:${tag}`);
      return notation(endpoint, user, ['sign', trusted, `${endpoint.host}/${name}@${digest}`]);
    },
    pull: (endpoint, user, name, tag) =>
      notation(endpoint, user, ['verify', trusted, `${endpoint.host}/${name}:${tag}`]),
  };
  itHonoursRights(client, () => world);

  for (const envelope of ['jws', 'cose']) {
    it(`verify, of an image signed with ${envelope}, accepts it and names its digest`, async () => {
      const digest = await pushImage(world.plain, `team/${envelope}:1`);
      const reference = `${world.plain.host}/team/${envelope}@${digest}`;
      assert.equal(await adminSucceeds('sign', trusted, reference, envelope), digest);
      assert.equal(await adminSucceeds('verify', trusted, reference), `${digest} 1`);
    });
  }

  it('verify, of an index signed several times, finds its way through all signatures', async () => {
    const digest = await pushImage(world.plain, 'team/index:1', ['amd64', 'arm64']);
    const reference = `${world.plain.host}/team/index@${digest}`;
    await adminSucceeds('sign', await newCertificate(), reference);
    await adminSucceeds('sign', await newCertificate(), reference, 'cose');
    await adminSucceeds('sign', trusted, reference);
    assert.match(await adminSucceeds('verify', trusted, reference), new RegExp(`^${digest}`));
  });

  it('verify, of an unsigned image and of one signed by a stranger, refuses both', async () => {
    const digest = await pushImage(world.plain, 'team/refused:1');
    const reference = `${world.plain.host}/team/refused@${digest}`;
    const unsigned = await notation(world.plain, ADMIN, ['verify', trusted, reference]);
    assert.notEqual(unsigned.code, 0);
    assert.match(unsigned.stderr, /no signature/i);
    await adminSucceeds('sign', await newCertificate(), reference);
    const stranger = await notation(world.plain, ADMIN, ['verify', trusted, reference]);
    assert.notEqual(stranger.code, 0);
    assert.match(stranger.stderr, /verification failed/i);
  });
});
