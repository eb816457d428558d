import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { parse } from 'yaml';
import { requireTool } from '../../scripts/tools.ts';
import { runCommand } from '../harness/docker-engine.ts';
import { storeEnvironment } from '../harness/stack.ts';
import { ROOT } from './compose-file.ts';

interface Service {
  readonly hostname: string;
  readonly environment: Readonly<Record<string, string>>;
}

const COMPOSE_FILE = `${ROOT}deploy/docker-compose.scale-out.yml`;
const PASSWORDS = {
  POSTGRES_PASSWORD: '0d6f1a',
  MINIO_PASSWORD: '83b2c4d5',
  DRIFT_ADMIN_PASSWORD: 'correct-horse-battery',
};
const ADDRESSES = {
  databaseUrl: `postgres://drift:${PASSWORDS.POSTGRES_PASSWORD}@postgres:5432/drift`,
  s3: {
    endpoint: 'http://minio:9000',
    region: 'us-east-1',
    bucket: 'drift',
    accessKey: 'drift',
    secretKey: PASSWORDS.MINIO_PASSWORD,
  },
};

describe('docker-compose.scale-out.yml', () => {
  const directory = mkdtempSync(join(tmpdir(), 'drift-scale-out-'));
  after(() => rmSync(directory, { recursive: true, force: true }));

  /** The file as compose reads it. */
  const compose = (passwords: Readonly<Record<string, string>>) => {
    const file = join(directory, 'passwords.env');
    writeFileSync(
      file,
      Object.entries(passwords).reduce((text, [key, value]) => `${text}${key}=${value}\n`, ''),
    );
    return runCommand(requireTool('docker-compose'), ['-f', COMPOSE_FILE, '--env-file', file, 'config']);
  };

  async function nodes(): Promise<readonly (readonly [string, Service])[]> {
    const { code, stdout, stderr } = await compose(PASSWORDS);
    assert.equal(code, 0, stderr);
    const { services } = parse(stdout) as { services: Readonly<Record<string, Service>> };
    return Object.entries(services).filter(([name]) => name.startsWith('drift-'));
  }

  it('its nodes have the settings that the tests of several nodes run with', async () => {
    const found = await nodes();
    assert.equal(found.length, 3);
    for (const [name, { hostname, environment }] of found) {
      assert.equal(hostname, name);
      const { DRIFT_USERS, ...stores } = environment;
      assert.equal(DRIFT_USERS, `admin:${PASSWORDS.DRIFT_ADMIN_PASSWORD}`);
      assert.deepEqual(stores, storeEnvironment(ADDRESSES));
    }
  });

  it('drift config check, in the environment of a node, finds nothing wrong', async () => {
    const [[, { environment }] = assert.fail('no node')] = await nodes();
    const result = await runCommand(process.execPath, [`${ROOT}bin/drift.js`, 'config', 'check'], {
      cwd: directory,
      env: environment,
    });
    assert.equal(result.code, 0, result.stderr);
  });

  it('nginx sends to each of its nodes, for the registry and for the console', async () => {
    const configuration = readFileSync(`${ROOT}deploy/nginx-scale-out.conf`, 'utf8');
    const upstreams = [...configuration.matchAll(/^ {2}server (\S+);$/gm)].map(([, address]) => address);
    const names = (await nodes()).map(([name]) => name);
    assert.deepEqual(
      upstreams,
      [5000, 5001].flatMap((port) => names.map((name) => `${name}:${port}`)),
    );
  });

  for (const missing of Object.keys(PASSWORDS)) {
    it(`nothing comes up without ${missing}`, async () => {
      const { [missing]: _, ...others } = PASSWORDS as Readonly<Record<string, string>>;
      const { code, stderr } = await compose(others);
      assert.notEqual(code, 0);
      assert.match(stderr, /set it in deploy\/\.env/);
    });
  }
});
