import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { requireTool } from '../../scripts/tools.ts';
import { startMinio } from '../harness/minio.ts';
import { startPostgres } from '../harness/postgres.ts';
import { digestOf } from '../harness/push-image.ts';
import { PROGRAM, spawnDrift } from '../harness/spawn-drift.ts';

const USER = 'admin:correct-horse-battery';
const authorization = `Basic ${Buffer.from(USER).toString('base64')}`;
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const PAGE = readFileSync(new URL('../../docs/backup.md', import.meta.url), 'utf8');

/** A block of the page, as an operator would paste it. */
function runBlock(name: string, env: Readonly<Record<string, string>>): string {
  const block = new RegExp(`\`\`\`bash ${name}\\n([^]*?)\`\`\``).exec(PAGE)?.[1];
  assert.ok(block !== undefined, `docs/backup.md has a block "${name}"`);
  return execFileSync('bash', ['-euc', block], { env: { ...process.env, ...env }, encoding: 'utf8' });
}

async function ask(url: string, init: { method?: string; body?: Buffer<ArrayBuffer>; type?: string } = {}) {
  const { method = 'GET', body, type = 'application/octet-stream' } = init;
  const headers = { authorization, 'content-type': type, accept: MANIFEST_TYPE };
  return await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) });
}

/** An image of one random layer; resolves with the layer. */
async function push(registry: string, tag: string): Promise<Buffer<ArrayBuffer>> {
  const layer = randomBytes(300_000);
  const config = Buffer.from('{}');
  for (const body of [layer, config]) {
    const digest = digestOf(body);
    const answer = await ask(`${registry}/v2/a/b/blobs/uploads/?digest=${digest}`, { method: 'POST', body });
    assert.equal(answer.status, 201, await answer.text());
  }
  const describe = (bytes: Buffer, mediaType: string) => ({
    mediaType: `application/vnd.oci.image.${mediaType}`,
    digest: digestOf(bytes),
    size: bytes.byteLength,
  });
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: describe(config, 'config.v1+json'),
    layers: [describe(layer, 'layer.v1.tar')],
  };
  const body = Buffer.from(JSON.stringify(manifest));
  const answer = await ask(`${registry}/v2/a/b/manifests/${tag}`, {
    method: 'PUT',
    body,
    type: MANIFEST_TYPE,
  });
  assert.equal(answer.status, 201, await answer.text());
  return layer;
}

async function query(url: string, sql: string): Promise<Record<string, unknown>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows[0] as Record<string, unknown>;
  } finally {
    await client.end();
  }
}

it('docs/backup.md: its commands restore a moment, and what was there then is pulled bit by bit', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'drift-backup-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  // The server runs as another user.
  chmodSync(home, 0o777);
  writeFileSync(join(home, 'drift'), `#!/bin/sh\nexec ${process.execPath} ${PROGRAM} "$@"\n`, {
    mode: 0o755,
  });
  const tools = join(requireTool('pg_basebackup'), '..');
  const archive = ['archive_mode=on', `archive_command=test ! -f ${home}/%f && cp %p ${home}/%f`];
  await using primary = await startPostgres({ settings: archive });
  await using minio = await startMinio();
  const database = new URL(await primary.createDatabase()).pathname.slice(1);
  const env = {
    DRIFT_USERS: USER,
    DRIFT_DATABASE_BACKEND: 'postgres',
    DRIFT_DATABASE_URL: primary.url(database),
    DRIFT_STORAGE_BACKEND: 's3',
    DRIFT_S3_ENDPOINT: minio.endpoint,
    DRIFT_S3_BUCKET: await minio.createBucket(),
    DRIFT_S3_ACCESS_KEY: minio.accessKey,
    DRIFT_S3_SECRET_KEY: minio.secretKey,
    DRIFT_STORAGE_REDIRECT: 'off',
  };
  const shell = {
    PATH: `${home}:${tools}:${process.env['PATH'] ?? ''}`,
    ARCHIVE: home,
    BACKUP: join(home, 'base'),
    RESTORED: join(home, 'restored'),
  };

  const before = await spawnDrift({ env });
  const first = await push(before.registryUrl, 'first');
  runBlock('base', { ...shell, ...env });
  const second = await push(before.registryUrl, 'second');
  const { moment } = await query(env.DRIFT_DATABASE_URL, 'select clock_timestamp()::text as moment');
  await sleep(5);
  assert.equal(
    (await ask(`${before.registryUrl}/v2/a/b/manifests/second`, { method: 'DELETE' })).status,
    202,
  );
  await push(before.registryUrl, 'third');
  await before.stop();
  const { log } = await query(env.DRIFT_DATABASE_URL, 'select pg_walfile_name(pg_switch_wal()) as log');
  const archived = `select coalesce(last_archived_wal >= '${String(log)}', false) as done from pg_stat_archiver`;
  while ((await query(env.DRIFT_DATABASE_URL, archived))['done'] !== true) await sleep(20);
  await primary.kill();

  runBlock('restore', { ...shell, MOMENT: String(moment) });
  await using restored = await startPostgres({ directory: shell.RESTORED });
  const again = { ...env, DRIFT_DATABASE_URL: restored.url(database) };
  while ((await query(again.DRIFT_DATABASE_URL, 'select pg_is_in_recovery() as it'))['it'] === true)
    await sleep(20);
  const data = { DRIFT_FS_ROOT: join(home, 'data') };
  const report = runBlock('check', { ...shell, ...again, ...data });
  assert.match(report, /^waste: .+\n0 damaged, 1 wasted\.\n$/, report);

  const after = await spawnDrift({ env: again });
  t.after(() => after.stop());
  for (const [tag, layer] of [
    ['first', first],
    ['second', second],
  ] as const) {
    assert.equal((await ask(`${after.registryUrl}/v2/a/b/manifests/${tag}`)).status, 200, tag);
    const pulled = await ask(`${after.registryUrl}/v2/a/b/blobs/${digestOf(layer)}`);
    assert.ok(Buffer.from(await pulled.arrayBuffer()).equals(layer), tag);
  }
  assert.equal((await ask(`${after.registryUrl}/v2/a/b/manifests/third`)).status, 404);
});
