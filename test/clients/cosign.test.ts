import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
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
} from '../harness/client-world.ts';
import { trustEnvironment, writeDockerConfig } from '../harness/docker-config.ts';
import { type CommandResult, runCommand } from '../harness/docker-engine.ts';
import { writeLayout } from '../harness/oci-layout.ts';

const OFFLINE = ['--allow-http-registry', '--insecure-ignore-tlog=true'];
/** What the two versions need to sign without any service but the registry. */
const SIGN_OFFLINE = {
  cosign2: ['-y', '--allow-http-registry', '--tlog-upload=false'],
  cosign3: ['-y', '--allow-http-registry', '--tlog-upload=false', '--use-signing-config=false'],
} as const;

for (const version of ['cosign3', 'cosign2'] as const) {
  describe(version, () => {
    let world: ClientWorld;
    let keys: string;
    before(async () => {
      world = await startClientWorld();
      keys = await newKeys();
    });
    after(() => world?.stop());

    const fresh = () => mkdtempSync(join(world.directory, 'cosign-'));

    async function newKeys(): Promise<string> {
      const directory = fresh();
      const made = await runCommand(requireTool(version), ['generate-key-pair'], {
        cwd: directory,
        env: { COSIGN_PASSWORD: '' },
      });
      assert.equal(made.code, 0, made.stderr);
      return directory;
    }

    function run(options: {
      readonly tool: 'cosign2' | 'cosign3' | 'crane';
      readonly endpoint: Endpoint;
      readonly user: User | null;
      readonly args: readonly string[];
      readonly env?: Readonly<Record<string, string>>;
    }): Promise<CommandResult> {
      const { tool, endpoint, user, args } = options;
      const config = fresh();
      writeDockerConfig(config, endpoint, user);
      return runCommand(requireTool(tool), args, {
        cwd: config,
        env: {
          HOME: config,
          DOCKER_CONFIG: config,
          COSIGN_PASSWORD: '',
          ...trustEnvironment(endpoint),
          ...options.env,
        },
      });
    }

    async function admin(
      tool: 'cosign2' | 'cosign3' | 'crane',
      args: readonly string[],
      env: Readonly<Record<string, string>> = {},
    ): Promise<string> {
      const result = await run({ tool, endpoint: world.plain, user: ADMIN, args, env });
      assert.equal(result.code, 0, `${tool} ${args.join(' ')}: ${result.stderr}`);
      return result.stdout.trim();
    }

    const client: MatrixClient = {
      // Signing reads the image first, so what is pushed with the user's own rights is a file.
      push: (endpoint, user, name, tag) => {
        const file = join(fresh(), 'file.bin');
        writeFileSync(file, randomBytes(30_000));
        const reference = `${endpoint.host}/${name}:${tag}`;
        const args = ['upload', 'blob', '--allow-http-registry', '-f', file, reference];
        return run({ tool: version, endpoint, user, args });
      },
      pull: (endpoint, user, name, tag) => {
        const reference = `${endpoint.host}/${name}:${tag}`;
        const args = ['save', '--allow-http-registry', '--dir', join(fresh(), 'out'), reference];
        return run({ tool: version, endpoint, user, args });
      },
    };
    itHonoursRights(client, () => world);

    async function pushImage(name: string, architectures?: string[]): Promise<string> {
      const layout = writeLayout(fresh(), architectures === undefined ? {} : { architectures });
      const kind = architectures === undefined ? [] : ['--index'];
      const reference = `${world.plain.host}/${name}:1`;
      await admin('crane', ['push', ...kind, layout.directory, reference]);
      return `${world.plain.host}/${name}@${await admin('crane', ['digest', reference])}`;
    }

    async function tagsOf(image: string): Promise<string[]> {
      const [name = ''] = image.split('@');
      return (await admin('crane', ['ls', name])).split('\n').sort();
    }

    const publicKey = () => join(keys, 'cosign.pub');
    const sign = (image: string, args: readonly string[] = [], env: Record<string, string> = {}) =>
      admin(
        version,
        ['sign', ...SIGN_OFFLINE[version], '--key', join(keys, 'cosign.key'), ...args, image],
        env,
      );
    const attest = (image: string, args: readonly string[] = []) => {
      const predicate = join(fresh(), 'predicate.json');
      writeFileSync(predicate, JSON.stringify({ tested: true }));
      return admin(version, [
        'attest',
        ...SIGN_OFFLINE[version],
        '--key',
        join(keys, 'cosign.key'),
        '--predicate',
        predicate,
        ...args,
        image,
      ]);
    };
    const verifies = async (
      image: string,
      args: readonly string[] = [],
      env: Record<string, string> = {},
    ) => {
      const verified = await admin(
        version,
        ['verify', ...OFFLINE, '--key', publicKey(), ...args, image],
        env,
      );
      assert.ok(verified.includes(image.split('@')[1] ?? image), verified);
    };
    const refuses = async (image: string, key: string) => {
      const args = ['verify', ...OFFLINE, '--key', key, image];
      const result = await run({ tool: version, endpoint: world.plain, user: ADMIN, args });
      assert.notEqual(result.code, 0, `verified with another key: ${result.stdout}`);
    };

    const legacy = version === 'cosign3' ? ['--new-bundle-format=false'] : [];

    it('sign, twice, as tags, verifies with the key and with no other', async () => {
      const image = await pushImage('team/tagged');
      await refuses(image, publicKey());
      await sign(image, legacy);
      await sign(image, [...legacy, '-a', 'again=yes']);
      const signatureTag = `${image.split('@')[1]?.replace(':', '-')}.sig`;
      assert.deepEqual(await tagsOf(image), ['1', signatureTag]);
      await verifies(image, legacy);
      await verifies(image, [...legacy, '-a', 'again=yes']);
      await refuses(image, join(await newKeys(), 'cosign.pub'));
    });

    it('attest, as a tag, gives back what was attested', async () => {
      const image = await pushImage('team/attested');
      await attest(image, legacy);
      const attestationTag = `${image.split('@')[1]?.replace(':', '-')}.att`;
      assert.deepEqual(await tagsOf(image), ['1', attestationTag]);
      await verifiesAttestation(image, legacy);
    });

    it('sign, recursively, of an index, signs its images too', async () => {
      const image = await pushImage('team/index', ['amd64', 'arm64']);
      await sign(image, ['-r', ...legacy]);
      const tags = await tagsOf(image);
      // Crane pushes the layout's list, which names the index, which names two images.
      assert.equal(tags.filter((tag) => tag.endsWith('.sig')).length, 4, tags.join());
      await verifies(image, legacy);
    });

    it('sign, as a referrer, verifies and leaves no tag', async () => {
      const image = await pushImage('team/referred');
      if (version === 'cosign2') {
        const experimental = { COSIGN_EXPERIMENTAL: '1' };
        await sign(image, ['--registry-referrers-mode=oci-1-1'], experimental);
        await verifies(image, ['--experimental-oci11'], experimental);
      } else {
        await sign(image);
        await verifies(image);
      }
      assert.deepEqual(await tagsOf(image), ['1']);
    });

    async function verifiesAttestation(image: string, args: readonly string[]): Promise<void> {
      const verified = await admin(version, [
        'verify-attestation',
        ...OFFLINE,
        '--key',
        publicKey(),
        ...args,
        image,
      ]);
      const { payload } = JSON.parse(verified.split('\n')[0] ?? '{}') as { payload: string };
      assert.match(Buffer.from(payload, 'base64').toString(), /tested\\*":true/);
    }

    if (version === 'cosign3') {
      it('attest, as a referrer, gives back what was attested and leaves no tag', async () => {
        const image = await pushImage('team/attested-referrer');
        await attest(image);
        assert.deepEqual(await tagsOf(image), ['1']);
        await verifiesAttestation(image, []);
      });
    }

    it('copy, of a signed image, takes the signatures along', async () => {
      const image = await pushImage('team/copied');
      await sign(image, legacy);
      const target = `${world.plain.host}/other/copied-${version}:1`;
      await admin(version, ['copy', '--allow-http-registry', image, target]);
      await verifies(`${target.slice(0, -2)}@${image.split('@')[1]}`, legacy);
    });
  });
}
