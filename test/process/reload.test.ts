import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { hash } from 'bcryptjs';
import { basic, openConnection } from '../harness/http-connection.ts';
import { type LogLine, type SpawnedDrift, spawnDrift } from '../harness/spawn-drift.ts';

/** Enough new connections for each of two workers to get several. */
const CONNECTIONS = 6;
const BCRYPT_COST = 6;

function configuration(options: { password: string; level?: string; extra?: string }): string {
  return `[basic]
users = ["admin:${options.password}"]
${options.extra ?? ''}
[logging]
level = "${options.level ?? 'info'}"
`;
}

async function statuses(drift: SpawnedDrift, name: string, password: string): Promise<Set<number>> {
  const seen = new Set<number>();
  for (let count = 0; count < CONNECTIONS; count += 1) {
    const connection = openConnection(drift.registryUrl);
    seen.add((await connection.ask('/v2/', { headers: basic(name, password) })).status);
    connection.close();
  }
  return seen;
}

describe('drift serve that is told to reload', () => {
  let directory: string;
  let file: string;
  let drift: SpawnedDrift;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'drift-reload-'));
    file = join(directory, 'my.toml');
  });

  afterEach(async () => {
    await drift.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const start = async (toml: string): Promise<void> => {
    writeFileSync(file, toml);
    drift = await spawnDrift({ args: ['--config', file] });
  };

  /** Resolves with what the reload had to say. */
  const reload = async (toml: string): Promise<readonly LogLine[]> => {
    const before = drift.logs().length;
    writeFileSync(file, toml);
    drift.signal('SIGHUP');
    const isEnd = (line: LogLine): boolean =>
      drift.logs().indexOf(line) >= before &&
      (line.msg === 'reloaded' || line.msg.startsWith('the new configuration cannot be used'));
    await drift.waitForLog(isEnd);
    return drift.logs().slice(before);
  };

  it('SIGHUP, with another password, makes the old one worthless on all workers', async () => {
    await start(configuration({ password: 'old-correct-horse' }));
    assert.deepEqual(await statuses(drift, 'admin', 'old-correct-horse'), new Set([200]));
    await reload(configuration({ password: 'new-correct-horse' }));
    assert.deepEqual(await statuses(drift, 'admin', 'new-correct-horse'), new Set([200]));
    assert.deepEqual(await statuses(drift, 'admin', 'old-correct-horse'), new Set([401]));
  });

  it('SIGHUP, with a configuration that is wrong, keeps the old one and says why', async () => {
    await start(configuration({ password: 'old-correct-horse' }));
    const lines = await reload('[server]\nworkerz = 3\n');
    assert.match(JSON.stringify(lines), /workerz/);
    assert.deepEqual(await statuses(drift, 'admin', 'old-correct-horse'), new Set([200]));
  });

  it('SIGHUP, with another log level, changes what every worker logs', async () => {
    await start(configuration({ password: 'old-correct-horse' }));
    await reload(configuration({ password: 'old-correct-horse', level: 'info,http=error' }));
    const before = drift.logs().filter(({ msg }) => msg === 'request').length;
    await statuses(drift, 'admin', 'old-correct-horse');
    await reload(configuration({ password: 'old-correct-horse' }));
    assert.equal(drift.logs().filter(({ msg }) => msg === 'request').length, before);
    await statuses(drift, 'admin', 'old-correct-horse');
    await drift.waitForLog((line) => line.msg === 'request' && drift.logs().indexOf(line) > before);
  });

  it('SIGHUP, with a changed key that needs a restart, names it in a warning', async () => {
    await start(configuration({ password: 'old-correct-horse' }));
    const lines = await reload(
      configuration({ password: 'old-correct-horse', extra: '[retention]\nmin_age_days = 99\n' }),
    );
    const warning = lines.find(({ msg }) => msg.includes('need a restart'));
    assert.deepEqual(warning?.['keys'], ['retention.min_age_days']);
  });

  it('the htpasswd file, changed, is read again without a signal', async () => {
    const htpasswd = join(directory, 'htpasswd');
    writeFileSync(htpasswd, `old:${await hash('correct-horse', BCRYPT_COST)}\n`);
    await start(`[basic]\nhtpasswd_file = "${htpasswd}"\n`);
    assert.deepEqual(await statuses(drift, 'old', 'correct-horse'), new Set([200]));
    writeFileSync(htpasswd, `young:${await hash('correct-horse', BCRYPT_COST)}\n`);
    await drift.waitForLog(({ msg }) => msg === 'reloaded');
    assert.deepEqual(await statuses(drift, 'young', 'correct-horse'), new Set([200]));
    assert.deepEqual(await statuses(drift, 'old', 'correct-horse'), new Set([401]));
  });

  it('no password, whatever happened, stands in the log', async () => {
    await start(configuration({ password: 'old-correct-horse' }));
    await statuses(drift, 'admin', 'wrong-correct-horse');
    await reload(configuration({ password: 'new-correct-horse' }));
    assert.doesNotMatch(drift.output().join('\n'), /correct-horse/);
  });
});
