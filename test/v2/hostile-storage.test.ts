import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  globSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { expectAnswer, openWireWorld } from '../harness/wire-world.ts';
import { sha256, type V2Client } from './v2-client.ts';

const REPOSITORY = 'ghost/storage';

function blobFile(directory: string, digest: string): string {
  const hex = digest.slice('sha256:'.length);
  return join(directory, 'blobs', 'sha256', hex.slice(0, 2), hex);
}

describe('E13, the data directory', () => {
  it('E13 whatever the umask, directories are 0700 and files 0600, staged ones too', async () => {
    const before = process.umask(0);
    try {
      await using world = await openWireWorld();
      await world.client.pushImage(REPOSITORY, 'latest');
      const location = await world.client.startUpload(REPOSITORY);
      await world.client.send('PATCH', location, { body: 'staged' });
      const entries = globSync('**/*', { cwd: world.registry.directory });
      assert.ok(entries.some((entry) => entry.startsWith('uploads/')));
      assert.ok(entries.some((entry) => entry.startsWith('blobs/')));
      const open = entries.filter((entry) => {
        const stats = lstatSync(join(world.registry.directory, entry));
        return (stats.mode & 0o777) !== (stats.isDirectory() ? 0o700 : 0o600);
      });
      assert.deepEqual(open, []);
    } finally {
      process.umask(before);
    }
  });

  it('E13 a symbolic link in place of a blob, its directory or a staged file, is followed neither to read nor to write', async () => {
    await using world = await openWireWorld();
    const { directory } = world.registry;
    const outside = mkdtempSync(join(tmpdir(), 'drift-outside-'));
    try {
      const secret = join(outside, 'secret');
      writeFileSync(secret, 'not yours!');
      const blob = await world.client.pushBlob(REPOSITORY, Buffer.from('ten bytes!'));
      unlinkSync(blobFile(directory, blob));
      symlinkSync(secret, blobFile(directory, blob));
      const read = await world.client.send('GET', `/v2/${REPOSITORY}/blobs/${blob}`);
      assert.equal(read.status, 503);
      assert.doesNotMatch(read.body.toString(), /not yours|drift-outside/);
      const location = await world.client.startUpload(REPOSITORY);
      await expectAnswer(world.client.send('PATCH', location, { body: 'to be replaced' }), { status: 202 });
      const id = location.split('/').at(-1) ?? '';
      const [staged = ''] = globSync(`uploads/*/${id}`, { cwd: directory });
      unlinkSync(join(directory, staged));
      symlinkSync(secret, join(directory, staged));
      const write = await world.client.send('PATCH', location, { body: 'overwritten' });
      assert.equal(write.status, 503);
      assert.equal(readFileSync(secret, 'utf8'), 'not yours!');
    } finally {
      rmSync(outside, { recursive: true, force: true });
    }
  });

  it('E13 a symbolic link in place of a directory of blobs, after a restart, is not followed', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'drift-links-'));
    const outside = mkdtempSync(join(tmpdir(), 'drift-outside-'));
    try {
      let blob = '';
      {
        await using world = await openWireWorld({ directory });
        blob = await world.client.pushBlob(REPOSITORY, Buffer.from('ten bytes!'));
      }
      const shard = join(blobFile(directory, blob), '..');
      renameSync(shard, join(outside, 'shard'));
      symlinkSync(join(outside, 'shard'), shard);
      await using world = await openWireWorld({ directory });
      await expectAnswer(world.client.send('GET', `/v2/${REPOSITORY}/blobs/${blob}`), { status: 503 });
    } finally {
      rmSync(directory, { recursive: true, force: true });
      rmSync(outside, { recursive: true, force: true });
    }
  });
});

describe('H1, less free than the reserve', () => {
  it('H1 uploads, begun or new, are refused with 507; reads, deletes, mounts and tags go on, and readiness names it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'drift-reserve-'));
    try {
      const bytes = randomBytes(1000);
      let begun = '';
      let image: Awaited<ReturnType<V2Client['pushImage']>>;
      {
        await using world = await openWireWorld({ directory });
        image = await world.client.pushImage(REPOSITORY, 'latest');
        begun = await world.client.startUpload(REPOSITORY);
        await world.client.send('PATCH', begun, { body: bytes.subarray(0, 500) });
      }
      {
        await using world = await openWireWorld({ directory, env: { DRIFT_STORAGE_RESERVE: '1024TiB' } });
        const { client } = world;
        const uploads = `/v2/${REPOSITORY}/blobs/uploads/`;
        for (const [method, path] of [
          ['POST', uploads],
          ['POST', `${uploads}?digest=${sha256(bytes)}`],
          ['PATCH', begun],
          ['PUT', `${begun}?digest=${sha256(bytes)}`],
        ] as const) {
          const body = path === uploads ? '' : bytes.subarray(500);
          const refused = await expectAnswer(client.send(method, path, { body }), {
            status: 507,
            'retry-after': /^\d+$/,
          });
          assert.equal(refused.code, 'UNAVAILABLE');
          assert.match(refused.message, /reserve/);
        }
        await expectAnswer(client.send('GET', begun), { status: 204, range: '0-499' });
        const mount = `/v2/ghost/mounted/blobs/uploads/?mount=${image.layer}&from=${REPOSITORY}`;
        await expectAnswer(client.send('POST', mount), { status: 201 });
        assert.deepEqual((await client.send('GET', `/v2/${REPOSITORY}/manifests/latest`)).body, image.bytes);
        await expectAnswer(client.send('GET', `/v2/${REPOSITORY}/blobs/${image.layer}`), { status: 200 });
        await expectAnswer(client.send('DELETE', `/v2/${REPOSITORY}/manifests/${image.digest}`), {
          status: 202,
        });
        await expectAnswer(client.send('DELETE', `/v2/${REPOSITORY}/blobs/${image.layer}`), { status: 202 });
        const ready = await fetch(`${world.registry.registryUrl}/readyz`);
        assert.equal(ready.status, 503);
        assert.match(await ready.text(), /free space/);
        assert.equal((await fetch(`${world.registry.registryUrl}/healthz`)).status, 200);
      }
      await using world = await openWireWorld({ directory });
      const put = `${begun}?digest=${sha256(bytes)}`;
      await expectAnswer(world.client.send('PUT', put, { body: bytes.subarray(500) }), { status: 201 });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe('H6, names that are prefixes of each other', () => {
  it('H6 tags and repositories around - . / 0 _, page by page of any size, come once each in byte order', async () => {
    await using world = await openWireWorld();
    const image = await world.client.pushImage('p/math', '0.1.2');
    const tags = ['0', '0.1', '0.1.2', '0.1.2-rc', '0.1.2.1', '0.1.20', '0.1.2_x', '0.10', '0_1', 'A', 'a'];
    for (const tag of tags) await world.client.putManifest('p/math', tag, image.bytes);
    const repositories = [
      'p/math',
      'p/math-voila',
      'p/math.x',
      'p/math/sub',
      'p/math0',
      'p/math_x',
      'p/mathematics',
    ];
    for (const repository of repositories)
      await world.client.pushImage(repository, 'latest', { content: repository });
    const read = async (first: string, key: 'tags' | 'repositories'): Promise<string[]> => {
      const found: string[] = [];
      for (let next: string | undefined = first; next !== undefined; ) {
        const answer = await world.client.send('GET', next);
        found.push(...answer.json[key]);
        next = /^<([^>]+)>/.exec(String(answer.headers.link ?? ''))?.[1];
      }
      return found;
    };
    for (const n of [1, 2, 3, 5, 50]) {
      assert.deepEqual(await read(`/v2/p/math/tags/list?n=${n}`, 'tags'), [...tags, 'latest'].sort());
      assert.deepEqual(await read(`/v2/_catalog?n=${n}`, 'repositories'), repositories.toSorted());
    }
  });
});
