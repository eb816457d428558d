import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { EXIT } from '../../src/std/exit-codes.ts';
import { runDrift, type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';

const USERS = { DRIFT_USERS: 'admin:correct-horse-battery' };

describe('drift serve that cannot start', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'drift-refusals-'));
  });

  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  const serve = (env: Record<string, string> = {}) =>
    runDrift(['serve'], { dataDirectory: directory, env: { ...USERS, ...env } });

  function assertOneSentence(stderr: string, matches: RegExp): void {
    const lines = stderr.trimEnd().split('\n');
    assert.equal(lines.length, 1, stderr);
    assert.match(lines[0] ?? '', matches);
  }

  it('a port, taken by another program, ends with one sentence and PORT_IN_USE', async () => {
    const other: Server = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    try {
      const { code, stderr } = await serve({ DRIFT_BIND_ADDR: `127.0.0.1:${port}` });
      assert.equal(code, EXIT.PORT_IN_USE);
      assertOneSentence(stderr, new RegExp(`Another program listens on 127\\.0\\.0\\.1:${port}`));
    } finally {
      other.close();
    }
  });

  it('an address, not of this machine, ends with PORT_REFUSED', async () => {
    const { code, stderr } = await serve({ DRIFT_BIND_ADDR: '192.0.2.1:5000' });
    assert.equal(code, EXIT.PORT_REFUSED);
    assertOneSentence(stderr, /Cannot listen on 192\.0\.2\.1:5000: this machine has no such address/);
  });

  it('a data directory, that is a file, ends with DATA_UNUSABLE', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    const { code, stderr } = await serve({ DRIFT_FS_ROOT: file });
    assert.equal(code, EXIT.DATA_UNUSABLE);
    assertOneSentence(stderr, /The data directory .* is not a directory/);
  });

  it('a data directory, whose blobs cannot be written, ends with DATA_UNUSABLE', async () => {
    writeFileSync(join(directory, 'blobs'), '');
    const { code, stderr } = await serve();
    assert.equal(code, EXIT.DATA_UNUSABLE);
    assertOneSentence(stderr, /directory/);
  });

  it('a ledger, that is no database, ends with LEDGER_CORRUPT', async () => {
    writeFileSync(join(directory, 'drift.db'), Buffer.alloc(8192, 'not a database '));
    const { code, stderr } = await serve();
    assert.equal(code, EXIT.LEDGER_CORRUPT);
    assertOneSentence(stderr, /drift\.db is damaged or not a database/);
  });

  it('a ledger, migrated by a newer program, ends with LEDGER_TOO_NEW', async () => {
    const database = new DatabaseSync(join(directory, 'drift.db'));
    database.exec(`pragma journal_mode = wal;
      create table schema_migrations (version integer primary key, name text not null, applied_at integer not null);
      insert into schema_migrations values (9999, 'of the future', 0)`);
    database.close();
    const { code, stderr } = await serve();
    assert.equal(code, EXIT.LEDGER_TOO_NEW);
    assertOneSentence(stderr, /newer version of Drift/);
  });

  it('a second primary, on the same data, ends with ALREADY_RUNNING and the first goes on', async () => {
    const first: SpawnedDrift = await spawnDrift({ dataDirectory: directory, env: USERS });
    try {
      const { code, stderr } = await serve();
      assert.equal(code, EXIT.ALREADY_RUNNING);
      assertOneSentence(stderr, /Another Drift serves the data in/);
      assert.equal((await fetch(`${first.registryUrl}/healthz`)).status, 200);
    } finally {
      await first.stop();
    }
  });

  it('a configuration, with two mistakes, names both and ends with CONFIG', async () => {
    const { code, stderr } = await serve({ DRIFT_WORKERS: 'many', DRIFT_FS_ROT: '/tmp' });
    assert.equal(code, EXIT.CONFIG);
    assert.match(stderr, /DRIFT_WORKERS/);
    assert.match(stderr, /DRIFT_FS_ROT/);
  });

  it('a data directory, given up by a clean stop, can be served again', async () => {
    mkdirSync(join(directory, 'data'));
    for (let run = 0; run < 2; run += 1) {
      const drift = await spawnDrift({ dataDirectory: join(directory, 'data'), env: USERS });
      assert.deepEqual(await drift.stop(), { code: 0, signal: null });
    }
  });
});
