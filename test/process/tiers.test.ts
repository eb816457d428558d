import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { basic, openConnection } from '../harness/http-connection.ts';
import { digestOf, pushBlob } from '../harness/push-image.ts';
import { runDrift, type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';

const PASSWORD = 'correct-horse-battery';
const headers = basic('admin', PASSWORD);
const REPOSITORY = 'ghost/demo';
const KILLS = 4;
const ACKNOWLEDGED_BEFORE_KILL = 12;

interface Place {
  readonly data: string;
  readonly env: Readonly<Record<string, string>>;
}

function makePlace(mode: string): Place & { remove(): void } {
  const data = mkdtempSync(join(tmpdir(), 'drift-tiers-'));
  return {
    data,
    env: {
      DRIFT_USERS: `admin:${PASSWORD}`,
      DRIFT_LOG: 'warn,process=info',
      DRIFT_STORAGE_BACKEND: 'tiered',
      DRIFT_TIERED_MODE: mode,
      DRIFT_TIERED_COLD: 'fs',
      DRIFT_TIERED_HOT_PATH: join(data, 'hot'),
    },
    remove: () => rmSync(data, { recursive: true, force: true }),
  };
}

function start({ data, env }: Place): Promise<SpawnedDrift> {
  return spawnDrift({ env, dataDirectory: data });
}

function filesBelow(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** Pushes until the registry goes away; what was acknowledged is noted as it is. */
async function pushUntilGone(drift: SpawnedDrift, acknowledged: Map<string, Buffer>): Promise<void> {
  const connection = openConnection(drift.registryUrl);
  try {
    for (;;) {
      const bytes = randomBytes(1 + Math.floor(Math.random() * 700_000));
      acknowledged.set(await pushBlob({ connection, repository: REPOSITORY, headers }, bytes), bytes);
    }
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
  } finally {
    connection.close();
  }
}

async function assertServed(drift: SpawnedDrift, blobs: ReadonlyMap<string, Buffer>): Promise<void> {
  const connection = openConnection(drift.registryUrl);
  for (const [digest, bytes] of blobs) {
    const answer = await connection.ask(`/v2/${REPOSITORY}/blobs/${digest}`, { headers });
    assert.equal(answer.status, 200, `${digest}: ${answer.text.slice(0, 300)}`);
    assert.ok(answer.body.equals(bytes), digest);
  }
  connection.close();
}

async function metric(drift: SpawnedDrift, name: string): Promise<number | null> {
  const connection = openConnection(drift.registryUrl);
  const { text } = await connection.ask('/metrics');
  connection.close();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? null : Number(line.slice(name.length + 1));
}

/** Beside the blobs that nobody was told of. */
async function assertClean(place: Place): Promise<void> {
  const fsck = await runDrift(['fsck', '--rehash'], { dataDirectory: place.data, env: place.env });
  assert.equal(fsck.code, 0, `${fsck.stdout}${fsck.stderr}`);
  assert.doesNotMatch(fsck.stdout, /^damage/m);
}

describe('write-back', () => {
  it(`kill -9 in the middle of pushes, ${KILLS} times, loses nothing that was acknowledged`, async () => {
    const place = makePlace('write-back');
    const acknowledged = new Map<string, Buffer>();
    try {
      for (let kill = 0; kill < KILLS; kill++) {
        const drift = await start(place);
        await assertServed(drift, acknowledged);
        const enough = acknowledged.size + ACKNOWLEDGED_BEFORE_KILL;
        const pushers = Array.from({ length: 4 }, () => pushUntilGone(drift, acknowledged));
        while (acknowledged.size < enough) await sleep(1);
        await drift.kill();
        await Promise.all(pushers);
        await assertClean(place);
      }
      const drift = await start(place);
      await assertServed(drift, acknowledged);
      while ((await metric(drift, 'drift_tier_backlog_blobs')) !== 0) await sleep(20);
      await assertServed(drift, acknowledged);
      await drift.stop();
      assert.deepEqual(filesBelow(join(place.data, 'hot/backlog/blobs')), []);
      for (const [digest, bytes] of acknowledged) {
        const hex = digest.slice('sha256:'.length);
        assert.ok(readFileSync(join(place.data, 'blobs/sha256', hex.slice(0, 2), hex)).equals(bytes));
      }
      await assertClean(place);
    } finally {
      place.remove();
    }
  });

  it('SIGTERM, right after pushes, sends what waits before the end', async () => {
    const place = makePlace('write-back');
    try {
      const drift = await start(place);
      const connection = openConnection(drift.registryUrl);
      const digests = [];
      for (let index = 0; index < 30; index++) {
        const bytes = Buffer.from(`blob ${index}`);
        digests.push(await pushBlob({ connection, repository: REPOSITORY, headers }, bytes));
      }
      connection.close();
      assert.equal((await drift.stop()).code, 0);
      const cold = filesBelow(join(place.data, 'blobs')).map((file) => `sha256:${file.slice(-64)}`);
      assert.deepEqual(cold.sort(), digests.sort());
      assert.deepEqual(filesBelow(join(place.data, 'hot/backlog/blobs')), []);
    } finally {
      place.remove();
    }
  });
});

describe('write-through', () => {
  it('a copy that rots, over the running program, is served right and replaced', async () => {
    const place = makePlace('write-through');
    try {
      const drift = await start(place);
      const connection = openConnection(drift.registryUrl);
      const bytes = randomBytes(1_500_000);
      const digest = await pushBlob({ connection, repository: REPOSITORY, headers }, bytes);
      const blobs = new Map([[digest, bytes]]);
      const copies = join(place.data, 'hot/copies/blobs');
      while (filesBelow(copies).length === 0) await sleep(5);
      const [copy] = filesBelow(copies);
      const rotten = readFileSync(copy!);
      rotten[700_000]! ^= 1;
      writeFileSync(copy!, rotten);
      await assertServed(drift, blobs);
      await assertServed(drift, blobs);
      while (filesBelow(copies).length === 0) await sleep(5);
      assert.equal(digestOf(readFileSync(copy!).subarray(0, bytes.byteLength)), digest);
      assert.equal(await metric(drift, 'drift_tier_events_total{event="rotten"}'), 1);
      connection.close();
      await drift.stop();
      await assertClean(place);
    } finally {
      place.remove();
    }
  });
});
