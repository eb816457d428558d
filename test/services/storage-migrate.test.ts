import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CopyObjectCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3';
import { type GhostbayDouble, startGhostbay } from '../harness/ghostbay.ts';
import { bucketOn, GHOSTBAY_BUCKET } from '../harness/ghostbay-bucket.ts';
import { basic, openConnection } from '../harness/http-connection.ts';
import { startMinio } from '../harness/minio.ts';
import { startPostgres } from '../harness/postgres.ts';
import { pushBlob, pushImage } from '../harness/push-image.ts';
import type { S3Service } from '../harness/s3-service.ts';
import { PROGRAM, runDrift, type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';

const PASSWORD = 'correct-horse-battery';
const headers = basic('admin', PASSWORD);
const REPOSITORY = 'ghost/demo';
const BLOBS = 60;
/** Several parts of a multipart upload, several segments in GhostBay. */
const LARGE_BYTES = 12 * 1024 * 1024 + 7;

const BACKENDS = ['fs', 's3', 'ghostbay'] as const;
/** How `drift backup` tells of them. */
const WHERE = { fs: /Copy \S+\/blobs/, s3: /The bucket "/, ghostbay: /data of GhostBay \(bucket "/ };

interface World {
  readonly data: string;
  readonly ghostbay: GhostbayDouble;
  readonly bucket: string;
  readonly pushed: Map<string, Buffer>;
}

describe('drift storage migrate', () => {
  let service: S3Service;
  before(async () => {
    service = await startMinio();
  });
  after(() => service[Symbol.asyncDispose]());

  function envOf(world: World, storage: Readonly<Record<string, string>>): Record<string, string> {
    const used = Object.values(storage);
    const bucket = {
      DRIFT_S3_ENDPOINT: service.endpoint,
      DRIFT_S3_BUCKET: world.bucket,
      DRIFT_S3_ACCESS_KEY: service.accessKey,
      DRIFT_S3_SECRET_KEY: service.secretKey,
      DRIFT_S3_PART_SIZE: '5 MiB',
    };
    const ghostbay = {
      DRIFT_GHOSTBAY_ENDPOINT: world.ghostbay.endpoint,
      DRIFT_GHOSTBAY_BUCKET: GHOSTBAY_BUCKET,
      DRIFT_GHOSTBAY_ACCESS_KEY: 'AKIA0000000000000000',
      DRIFT_GHOSTBAY_SECRET_KEY: 'secret',
      DRIFT_GHOSTBAY_SEGMENT_SIZE: '1 MiB',
    };
    return {
      DRIFT_USERS: `admin:${PASSWORD}`,
      DRIFT_LOG: 'warn,process=info',
      ...(used.includes('s3') ? bucket : {}),
      ...(used.includes('ghostbay') ? ghostbay : {}),
      ...storage,
    };
  }

  async function push(drift: SpawnedDrift, { pushed }: World, sizes: readonly number[]): Promise<void> {
    const connection = openConnection(drift.registryUrl);
    for (const size of sizes) {
      const bytes = randomBytes(size);
      pushed.set(await pushBlob({ connection, repository: REPOSITORY, headers }, bytes), bytes);
    }
    connection.close();
  }

  async function assertServed(drift: SpawnedDrift, { pushed }: World): Promise<void> {
    const connection = openConnection(drift.registryUrl);
    // More are pushed meanwhile.
    const known = new Map(pushed);
    for (const [digest, bytes] of known) {
      const answer = await connection.ask(`/v2/${REPOSITORY}/blobs/${digest}`, { headers });
      assert.equal(answer.status, 200, `${digest}: ${answer.text.slice(0, 300)}`);
      assert.ok(answer.body.equals(bytes), digest);
    }
    connection.close();
  }

  /** Two uploads that nobody finishes: one stands where a blob would, one in parts where the store has those. */
  async function beginUploads(drift: SpawnedDrift): Promise<void> {
    const connection = openConnection(drift.registryUrl);
    for (const size of [1000, LARGE_BYTES]) {
      const begun = await connection.ask(`/v2/${REPOSITORY}/blobs/uploads/`, { method: 'POST', headers });
      const { pathname, search } = new URL(String(begun.headers['location']), drift.registryUrl);
      const sent = await connection.ask(`${pathname}${search}`, {
        method: 'PATCH',
        headers: { ...headers, 'Content-Type': 'application/octet-stream' },
        body: randomBytes(size),
      });
      assert.equal(sent.status, 202, sent.text);
    }
    connection.close();
  }

  /** Kills the command (-9) when its first progress is on the screen. */
  async function killedInTheMiddle(world: World, env: Record<string, string>, to: string): Promise<void> {
    const child = spawn(process.execPath, [PROGRAM, 'storage', 'migrate', '--to', to, '--parallel', '1'], {
      cwd: world.data,
      env: { PATH: process.env['PATH'], DRIFT_FS_ROOT: world.data, DRIFT_STORAGE_RESERVE: '0', ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    await sleep(100);
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** Pulls and pushes go on until told to stop; each answer has to be right. */
  function busy(drift: SpawnedDrift, world: World): { stop(): Promise<void> } {
    let isOver = false;
    const all = Promise.all([
      (async () => {
        while (!isOver) await assertServed(drift, world);
      })(),
      (async () => {
        while (!isOver) await push(drift, world, [1000, 1100, 1200]);
      })(),
    ]);
    // Told where it is waited for.
    const done = all.then(
      () => null,
      (error: unknown) => error,
    );
    return {
      async stop() {
        isOver = true;
        assert.equal(await done, null);
      },
    };
  }

  /** What is left of blobs and uploads. */
  async function keptIn(backend: (typeof BACKENDS)[number], world: World): Promise<readonly string[]> {
    if (backend === 'fs') {
      const files = ['blobs', 'uploads'].flatMap((name) =>
        readdirSync(join(world.data, name), { recursive: true, withFileTypes: true }),
      );
      return files.filter((file) => file.isFile()).map(({ name }) => name);
    }
    if (backend === 'ghostbay') return world.ghostbay.keys(GHOSTBAY_BUCKET);
    const client = service.openClient();
    const keys = await keysOf(client, world.bucket);
    client.destroy();
    return keys;
  }

  async function copyObjects(from: string, to: string): Promise<void> {
    const client = service.openClient();
    for (const key of await keysOf(client, from))
      await client.send(new CopyObjectCommand({ Bucket: to, Key: key, CopySource: `${from}/${key}` }));
    client.destroy();
  }

  for (const [from, to] of BACKENDS.flatMap((one) =>
    BACKENDS.filter((other) => other !== one).map((other) => [one, other] as const),
  )) {
    it(`from ${from} to ${to}, under pulls and pushes, killed in between, moves everything`, async () => {
      const data = mkdtempSync(join(tmpdir(), 'drift-migrate-'));
      const ghostbay = await startGhostbay();
      await bucketOn(ghostbay);
      const world: World = { data, ghostbay, bucket: await service.createBucket(), pushed: new Map() };
      const started: SpawnedDrift[] = [];
      const start = async (env: Record<string, string>): Promise<SpawnedDrift> => {
        const drift = await spawnDrift({ env, dataDirectory: data });
        started.push(drift);
        return drift;
      };
      try {
        const old = await start(envOf(world, { DRIFT_STORAGE_BACKEND: from }));
        await push(old, world, [
          LARGE_BYTES,
          ...Array.from({ length: BLOBS }, (_, index) => 1000 + 100 * index),
        ]);
        const connection = openConnection(old.registryUrl);
        await pushImage({ connection, repository: REPOSITORY, headers }, 'v1');
        connection.close();
        await beginUploads(old);
        await old.stop();

        const moving = envOf(world, { DRIFT_STORAGE_BACKEND: to, DRIFT_STORAGE_MIGRATE_FROM: from });
        const drift = await start(moving);
        await assertServed(drift, world);
        const traffic = busy(drift, world);
        await killedInTheMiddle(world, moving, to);
        const asked = { dataDirectory: data, env: moving };
        const half = await runDrift(['fsck'], asked);
        assert.doesNotMatch(half.stdout, /^damage/m);
        const backup = await runDrift(['backup', join(data, 'half.db')], asked);
        for (const backend of [from, to]) assert.match(backup.stdout, WHERE[backend]);
        const done = await runDrift(['storage', 'migrate', '--to', to, '--grace', '1s'], asked);
        assert.equal(done.code, 0, `${done.stdout}${done.stderr}`);
        assert.match(done.stdout, /Every blob has moved/);
        await traffic.stop();
        await assertServed(drift, world);
        await drift.stop();

        const after = envOf(world, { DRIFT_STORAGE_BACKEND: to });
        const fsck = await runDrift(['fsck', '--rehash'], { dataDirectory: data, env: after });
        assert.equal(fsck.stdout, 'Ledger and blobs agree.\n');
        const only = await start(after);
        await assertServed(only, world);
        await only.stop();
        assert.deepEqual(await keptIn(from, world), []);
        assert.notDeepEqual(await keptIn(to, world), []);
      } finally {
        for (const drift of started) await drift.kill();
        await ghostbay.stop();
        rmSync(data, { recursive: true, force: true });
      }
    });
  }

  it('damaged blobs of the old store are named and left; deleted and pushed again, they are whole in the new one', async (t) => {
    const data = mkdtempSync(join(tmpdir(), 'drift-migrate-'));
    const ghostbay = await startGhostbay();
    t.after(() => ghostbay.stop());
    await bucketOn(ghostbay);
    const world: World = { data, ghostbay, bucket: 'none', pushed: new Map() };
    const old = await spawnDrift({
      env: envOf(world, { DRIFT_STORAGE_BACKEND: 'ghostbay' }),
      dataDirectory: data,
    });
    t.after(() => old.kill());
    await push(old, world, [1000, 2000, 3000]);
    const whole = [...world.pushed.keys()];
    const sizes = [LARGE_BYTES, LARGE_BYTES, 4000, 5000];
    for (const [index, size] of sizes.entries()) {
      const before = ghostbay.keys(GHOSTBAY_BUCKET);
      await push(old, world, [size]);
      const added = ghostbay.keys(GHOSTBAY_BUCKET).filter((key) => !before.includes(key));
      const head = added.find((key) => key.startsWith('blobs/')) ?? '';
      const segment = added.find((key) => key.startsWith('segments/')) ?? '';
      if (index === 0)
        await fetch(`${ghostbay.endpoint}/${GHOSTBAY_BUCKET}/${segment}`, { method: 'DELETE' });
      // The double's own bytes: what a disk does behind the back of the server.
      if (index === 1) ghostbay.object(GHOSTBAY_BUCKET, segment)?.fill(0);
      if (index === 2) ghostbay.object(GHOSTBAY_BUCKET, head)?.fill(0);
      if (index === 3) ghostbay.object(GHOSTBAY_BUCKET, head)?.subarray(-100).fill(0);
    }
    const damaged = [...world.pushed].filter(([digest]) => !whole.includes(digest));
    await old.stop();

    const moving = envOf(world, { DRIFT_STORAGE_BACKEND: 'fs', DRIFT_STORAGE_MIGRATE_FROM: 'ghostbay' });
    const asked = { dataDirectory: data, env: moving };
    const drift = await spawnDrift(asked);
    t.after(() => drift.kill());
    const fsck = await runDrift(['fsck', '--rehash'], asked);
    assert.equal(fsck.code, 1);
    const left = await runDrift(['storage', 'migrate', '--to', 'fs', '--grace', '0s'], asked);
    assert.equal(left.code, 1, left.stderr);
    assert.match(left.stdout, /4 damaged blobs stay/);
    for (const [digest] of damaged) {
      assert.match(fsck.stdout, new RegExp(`^damage: blob ${digest}`, 'm'));
      assert.match(left.stderr, new RegExp(`^damage: blob ${digest}`, 'm'));
    }
    const connection = openConnection(drift.registryUrl);
    for (const [digest, bytes] of damaged) {
      const gone = await connection.ask(`/v2/${REPOSITORY}/blobs/${digest}`, { method: 'DELETE', headers });
      assert.equal(gone.status, 202, gone.text);
      await pushBlob({ connection, repository: REPOSITORY, headers }, bytes);
    }
    connection.close();
    await assertServed(drift, world);
    const done = await runDrift(['storage', 'migrate', '--to', 'fs', '--grace', '0s'], asked);
    assert.equal(done.code, 0, `${done.stdout}${done.stderr}`);
    await assertServed(drift, world);
    await drift.stop();
    const after = { dataDirectory: data, env: envOf(world, { DRIFT_STORAGE_BACKEND: 'fs' }) };
    assert.equal((await runDrift(['fsck', '--rehash'], after)).stdout, 'Ledger and blobs agree.\n');
    assert.deepEqual(ghostbay.keys(GHOSTBAY_BUCKET), []);
    rmSync(data, { recursive: true, force: true });
  });

  it('blobs of a store that is not configured any more, asked for, are 503; pushed again, they are here', async (t) => {
    const data = mkdtempSync(join(tmpdir(), 'drift-migrate-'));
    const ghostbay = await startGhostbay();
    t.after(() => ghostbay.stop());
    const world: World = { data, ghostbay, bucket: await service.createBucket(), pushed: new Map() };
    const old = await spawnDrift({
      env: envOf(world, { DRIFT_STORAGE_BACKEND: 'fs' }),
      dataDirectory: data,
    });
    t.after(() => old.kill());
    await push(old, world, [1000, LARGE_BYTES]);
    await old.stop();
    const asked = { dataDirectory: data, env: envOf(world, { DRIFT_STORAGE_BACKEND: 's3' }) };
    const damaged = await runDrift(['fsck'], asked);
    assert.equal(damaged.code, 1);
    const drift = await spawnDrift(asked);
    t.after(() => drift.kill());
    assert.ok(drift.output().some((line) => /2 of the first 2 blobs are in a store that is not/.test(line)));
    const connection = openConnection(drift.registryUrl);
    for (const [digest, bytes] of world.pushed) {
      assert.match(
        damaged.stdout,
        new RegExp(`^damage: blob ${digest}: it is in a store that is not configured`, 'm'),
      );
      const answer = await connection.ask(`/v2/${REPOSITORY}/blobs/${digest}`, { headers });
      assert.equal(answer.status, 503, answer.text);
      assert.match(answer.text, /UNAVAILABLE/);
      await pushBlob({ connection, repository: REPOSITORY, headers }, bytes);
    }
    connection.close();
    await assertServed(drift, world);
    await drift.stop();
    assert.equal((await runDrift(['fsck', '--rehash'], asked)).stdout, 'Ledger and blobs agree.\n');
    rmSync(data, { recursive: true, force: true });
  });

  it('nodes, restarted one after the other to read both stores and then to change, all serve what any of them took', async (t) => {
    const postgres = await startPostgres();
    t.after(() => postgres[Symbol.asyncDispose]());
    const ghostbay = await startGhostbay();
    t.after(() => ghostbay.stop());
    await bucketOn(ghostbay);
    const data = mkdtempSync(join(tmpdir(), 'drift-migrate-'));
    const world: World = { data, ghostbay, bucket: await service.createBucket(), pushed: new Map() };
    const database = {
      DRIFT_DATABASE_BACKEND: 'postgres',
      DRIFT_DATABASE_URL: await postgres.createDatabase(),
    };
    const nodes: SpawnedDrift[] = [];
    t.after(() => Promise.all(nodes.map((node) => node.kill())));
    const start = async (name: string, storage: Readonly<Record<string, string>>): Promise<void> => {
      const env = { ...envOf(world, storage), ...database, DRIFT_NODE_NAME: name };
      nodes.push(await spawnDrift({ env, dataDirectory: data }));
    };
    const served = async (): Promise<void> => {
      for (const node of nodes) {
        await push(node, world, [1000, 2000]);
        // A digest that another one has brought, too.
        const [[, bytes = Buffer.alloc(0)] = []] = world.pushed;
        const connection = openConnection(node.registryUrl);
        await pushBlob({ connection, repository: `${REPOSITORY}-again`, headers }, bytes);
        connection.close();
      }
      for (const node of nodes) await assertServed(node, world);
    };
    const phases = [
      { DRIFT_STORAGE_BACKEND: 's3' },
      { DRIFT_STORAGE_BACKEND: 's3', DRIFT_STORAGE_MIGRATE_FROM: 'ghostbay' },
      { DRIFT_STORAGE_BACKEND: 'ghostbay', DRIFT_STORAGE_MIGRATE_FROM: 's3' },
    ];
    for (const storage of phases) {
      for (const name of ['one', 'two']) {
        if (nodes.length === 2) await nodes.shift()?.stop();
        await start(name, storage);
        await served();
      }
    }
    const asked = { dataDirectory: data, env: { ...envOf(world, phases[2] ?? {}), ...database } };
    const done = await runDrift(['storage', 'migrate', '--to', 'ghostbay', '--grace', '0s'], asked);
    assert.equal(done.code, 0, `${done.stdout}${done.stderr}`);
    await served();
    assert.deepEqual(await keptIn('s3', world), []);
    rmSync(data, { recursive: true, force: true });
  });

  it('a bucket that was copied by other means serves what the first one served', async () => {
    const data = mkdtempSync(join(tmpdir(), 'drift-migrate-'));
    const ghostbay = await startGhostbay();
    const world: World = { data, ghostbay, bucket: await service.createBucket(), pushed: new Map() };
    const moved: World = { ...world, bucket: await service.createBucket() };
    const storage = { DRIFT_STORAGE_BACKEND: 's3' };
    const old = await spawnDrift({ env: envOf(world, storage), dataDirectory: data });
    await push(old, world, [LARGE_BYTES, 1000]);
    await copyObjects(world.bucket, moved.bucket);
    await push(old, world, [2000, 3000]);
    await old.stop();
    await copyObjects(world.bucket, moved.bucket);
    const fsck = await runDrift(['fsck', '--rehash'], { dataDirectory: data, env: envOf(moved, storage) });
    assert.equal(fsck.stdout, 'Ledger and blobs agree.\n');
    const drift = await spawnDrift({ env: envOf(moved, storage), dataDirectory: data });
    await assertServed(drift, world);
    await drift.stop();
    await ghostbay.stop();
    rmSync(data, { recursive: true, force: true });
  });

  it('without storage.migrate_from, or to another backend, says what to configure', async () => {
    const data = mkdtempSync(join(tmpdir(), 'drift-migrate-'));
    const ghostbay = await startGhostbay();
    const world: World = { data, ghostbay, bucket: 'none', pushed: new Map() };
    for (const storage of [
      { DRIFT_STORAGE_BACKEND: 'fs' },
      { DRIFT_STORAGE_BACKEND: 'fs', DRIFT_STORAGE_MIGRATE_FROM: 's3' },
    ]) {
      const asked = { dataDirectory: data, env: envOf(world, storage) };
      const refused = await runDrift(['storage', 'migrate', '--to', 's3'], asked);
      assert.equal(refused.code, 78, refused.stderr);
      assert.match(refused.stderr, /set storage\.backend = "s3" and storage\.migrate_from/);
    }
    await ghostbay.stop();
    rmSync(data, { recursive: true, force: true });
  });
});

async function keysOf(client: S3Client, bucket: string): Promise<string[]> {
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
  return Contents.map(({ Key }) => Key ?? '');
}
