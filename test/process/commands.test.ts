import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { EXIT } from '../../src/std/exit-codes.ts';
import { basic, openConnection } from '../harness/http-connection.ts';
import { pushBlob, pushImage } from '../harness/push-image.ts';
import { runDrift, type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';

const BOX = /^│ {3}password {2}(\S+) +│$/m;

describe('the commands, beside a registry that serves', () => {
  let directory: string;
  let dataDirectory: string;
  let drift: SpawnedDrift;
  let password: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drift-commands-'));
    dataDirectory = join(directory, 'data');
    mkdirSync(dataDirectory);
    drift = await spawnDrift({ dataDirectory });
    password = BOX.exec(drift.output().join('\n'))?.[1] ?? '';
  });

  after(async () => {
    await drift.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('the first start, without users, prints the password of admin and it opens the registry', async () => {
    assert.notEqual(password, '');
    const connection = openConnection(drift.registryUrl);
    assert.equal((await connection.ask('/v2/', { headers: basic('admin', password) })).status, 200);
    connection.close();
  });

  it('a token, asked for with a name, is logged with that name', async () => {
    const connection = openConnection(drift.registryUrl);
    const form = new URLSearchParams({
      grant_type: 'password',
      username: 'admin',
      password,
    });
    const ids = ['principal-of-get', 'principal-of-post', 'principal-of-nobody'] as const;
    const [byQuery, byForm, wrong] = [
      await connection.ask('/token', { headers: { ...basic('admin', password), 'x-request-id': ids[0] } }),
      await connection.ask('/token', {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', 'x-request-id': ids[1] },
        body: form.toString(),
      }),
      await connection.ask('/token', { headers: { ...basic('admin', 'wrong'), 'x-request-id': ids[2] } }),
    ];
    assert.deepEqual([byQuery.status, byForm.status, wrong.status], [200, 200, 401]);
    const principals = await Promise.all(
      ids.map(async (id) => (await drift.waitForLog((line) => line['requestId'] === id))['principal']),
    );
    assert.deepEqual(principals, ['admin', 'admin', '']);
    connection.close();
  });

  it('backup, while serving, makes a ledger from which everything can be pulled again', async () => {
    const headers = basic('admin', password);
    const connection = openConnection(drift.registryUrl);
    await pushImage({ connection, repository: 'ghost/demo', headers }, 'kept');
    connection.close();
    const copy = join(directory, 'restored');
    mkdirSync(copy);
    const done = await runDrift(['backup', join(copy, 'drift.db')], { dataDirectory });
    assert.equal(done.code, EXIT.OK, done.stderr);
    cpSync(join(dataDirectory, 'blobs'), join(copy, 'blobs'), { recursive: true });
    const restored = await spawnDrift({ dataDirectory: copy });
    try {
      // Its people are in the ledger: no second password is made.
      assert.doesNotMatch(restored.output().join('\n'), BOX);
      const again = openConnection(restored.registryUrl);
      assert.equal((await again.ask('/v2/ghost/demo/manifests/kept', { headers })).status, 200);
      again.close();
    } finally {
      await restored.stop();
    }
  });

  it('backup, onto a file that exists, changes nothing and fails', async () => {
    const file = join(directory, 'there');
    writeFileSync(file, 'already');
    const { code, stderr } = await runDrift(['backup', file], { dataDirectory });
    assert.equal(code, EXIT.USAGE);
    assert.match(stderr, /^drift: The backup .+ exists already\. Name a file that is not there yet, .+\.\n$/);
    assert.equal(readFileSync(file, 'utf8'), 'already');
  });

  it('fsck, of sound data while serving, finds nothing', async () => {
    const { code, stdout, stderr } = await runDrift(['fsck', '--rehash'], { dataDirectory });
    assert.equal(code, EXIT.OK, stderr);
    assert.equal(stdout, 'Ledger and blobs agree.\n');
  });

  it('fsck, with bytes changed on the disk, names the blob and fails', async () => {
    const connection = openConnection(drift.registryUrl);
    const to = { connection, repository: 'ghost/demo', headers: basic('admin', password) };
    const digest = await pushBlob(to, Buffer.from('these bytes will change'));
    connection.close();
    const hex = digest.slice('sha256:'.length);
    writeFileSync(
      join(dataDirectory, 'blobs', 'sha256', hex.slice(0, 2), hex),
      'these bytes have changed'.slice(0, 23),
    );
    const { code, stdout } = await runDrift(['fsck', '--rehash'], { dataDirectory });
    assert.equal(code, EXIT.FAILED);
    assert.match(stdout, new RegExp(`damage: blob ${digest}`));
  });

  it('health, of the registry that serves, says so', async () => {
    const env = { DRIFT_BIND_ADDR: new URL(drift.registryUrl).host };
    const { code, stdout } = await runDrift(['health'], { dataDirectory, env });
    assert.equal(code, EXIT.OK);
    assert.equal(stdout, 'Healthy.\n');
  });
});

describe('the command line', () => {
  const run = (...args: string[]) => runDrift(args, { dataDirectory: tmpdir() });

  it('version, asked for, is that of the package', async () => {
    assert.match((await run('version')).stdout, /^drift \d+\.\d+\.\d+ \(node \d+\.\d+\.\d+\)\n$/);
  });

  it('an unknown command, or flag, ends with USAGE', async () => {
    assert.equal((await run('sevre')).code, EXIT.USAGE);
    assert.equal((await run('serve', '--bnid', '127.0.0.1:0')).code, EXIT.USAGE);
  });

  it('help, asked for, names every command and exits 0', async () => {
    const { code, stdout } = await run('--help');
    assert.equal(code, EXIT.OK);
    for (const name of ['serve', 'backup', 'fsck', 'health', 'version', 'config']) {
      assert.match(stdout, new RegExp(`^ {2}${name}\\b`, 'm'));
    }
  });
});
