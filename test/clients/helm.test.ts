import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
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
  WRONG,
} from '../harness/client-world.ts';
import { writeDockerConfig } from '../harness/docker-config.ts';
import { type CommandResult, runCommand } from '../harness/docker-engine.ts';
import { sha256 } from '../harness/oci-layout.ts';

describe('helm', () => {
  let world: ClientWorld;
  before(async () => {
    world = await startClientWorld();
  });
  after(() => world?.stop());

  const fresh = () => mkdtempSync(join(world.directory, 'helm-'));

  /** Helm with nothing of this machine's own settings; the registry's log-in is in `config.json` of `home`. */
  function helmAt(home: string, args: readonly string[], stdin = ''): Promise<CommandResult> {
    const registryConfig = join(home, 'config.json');
    return runCommand(requireTool('helm'), ['--registry-config', registryConfig, ...args], {
      env: {
        HELM_CACHE_HOME: join(home, 'cache'),
        HELM_CONFIG_HOME: join(home, 'config'),
        HELM_DATA_HOME: join(home, 'data'),
        DOCKER_CONFIG: join(home, 'docker'),
      },
      stdin,
    });
  }

  const trust = (endpoint: Endpoint) =>
    endpoint.authorityFile === null ? ['--plain-http'] : ['--ca-file', endpoint.authorityFile];

  function helm(endpoint: Endpoint, user: User | null, args: readonly string[]): Promise<CommandResult> {
    const home = fresh();
    writeDockerConfig(home, endpoint, user);
    return helmAt(home, [...args, ...trust(endpoint)]);
  }

  /** A chart with content of its own, as `helm package` makes it. */
  async function packageChart(name: string, version: string): Promise<string> {
    const home = fresh();
    const chart = join(home, name);
    mkdirSync(join(chart, 'templates'), { recursive: true });
    writeFileSync(join(chart, 'Chart.yaml'), `apiVersion: v2\nname: ${name}\nversion: ${version}\n`);
    writeFileSync(
      join(chart, 'templates', 'map.yaml'),
      `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  b: ${randomBytes(20_000).toString('hex')}\n`,
    );
    const packed = await helmAt(home, ['package', chart, '--destination', home]);
    assert.equal(packed.code, 0, packed.stderr);
    return join(home, `${name}-${version}.tgz`);
  }

  const client: MatrixClient = {
    // To tag a manifest that it has just pushed, helm gets it first.
    readsWhilePushing: true,
    push: async (endpoint, user, name, tag) => {
      const [organisation = '', chart = ''] = name.split('/');
      const file = await packageChart(chart, `1.0.0-${tag}`);
      return helm(endpoint, user, ['push', file, `oci://${endpoint.host}/${organisation}`]);
    },
    pull: (endpoint, user, name, tag) =>
      helm(endpoint, user, [
        'pull',
        `oci://${endpoint.host}/${name}`,
        '--version',
        `1.0.0-${tag}`,
        '--destination',
        fresh(),
      ]),
  };
  itHonoursRights(client, () => world);

  async function admin(...args: string[]): Promise<string> {
    const result = await helm(world.plain, ADMIN, args);
    assert.equal(result.code, 0, `helm ${args.join(' ')}: ${result.stderr}`);
    return `${result.stdout}${result.stderr}`;
  }

  it('push and pull, of a chart and its provenance file, keep every byte', async () => {
    const file = await packageChart('web', '1.2.3');
    writeFileSync(`${file}.prov`, `signed: ${randomBytes(100).toString('hex')}\n`);
    const charts = `oci://${world.plain.host}/charts`;
    const pushed = await admin('push', file, charts);
    const target = fresh();
    const pulled = await admin(
      'pull',
      `${charts}/web`,
      '--version',
      '1.2.3',
      '--prov',
      '--destination',
      target,
    );
    const digest = /Digest: (sha256:[0-9a-f]{64})/.exec(pushed)?.[1];
    assert.ok(digest !== undefined && pulled.includes(digest), `${pushed}\n${pulled}`);
    for (const name of ['web-1.2.3.tgz', 'web-1.2.3.tgz.prov']) {
      const sent = readFileSync(name.endsWith('.prov') ? `${file}.prov` : file);
      assert.equal(sha256(readFileSync(join(target, name))), sha256(sent), name);
    }
  });

  it('pull, of a version range, takes the newest of the tags, with a + in its name too', async () => {
    const charts = `oci://${world.plain.host}/charts`;
    for (const version of ['1.0.0', '1.1.0+build.7', '2.0.0']) {
      await admin('push', await packageChart('range', version), charts);
    }
    const shown = await admin('show', 'chart', `${charts}/range`, '--version', '^1');
    assert.match(shown, /^version: 1\.1\.0\+build\.7$/m);
    assert.match(await admin('show', 'chart', `${charts}/range`), /^version: 2\.0\.0$/m);
  });

  it('template, of a chart that is only here, renders it', async () => {
    const charts = `oci://${world.plain.host}/charts`;
    await admin('push', await packageChart('render', '0.1.0'), charts);
    assert.match(await admin('template', 'x', `${charts}/render`, '--version', '0.1.0'), /kind: ConfigMap/);
  });

  it('registry login, with the right and a wrong password, succeeds and fails', async () => {
    const login = async (user: User) => {
      const home = fresh();
      const args = [
        'registry',
        'login',
        world.plain.host,
        '-u',
        user.name,
        '--password-stdin',
        '--plain-http',
      ];
      return { home, result: await helmAt(home, args, user.password) };
    };
    assert.notEqual((await login(WRONG)).result.code, 0);
    const { home, result } = await login(ADMIN);
    assert.equal(result.code, 0, result.stderr);
    const file = await packageChart('login', '1.0.0');
    const pushed = await helmAt(home, ['push', file, `oci://${world.plain.host}/charts`, '--plain-http']);
    assert.equal(pushed.code, 0, pushed.stderr);
  });
});
