import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { lockDirectory } from '../process/lock-directory.ts';
import { EXIT } from '../std/exit-codes.ts';
import { runDbMigrate } from './db-migrate.ts';
import { runDbStatus } from './db-status.ts';

describe('drift db', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'drift-db-'));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  async function outcome(command: typeof runDbStatus) {
    let text = '';
    const sink = {
      write: (more: string) => {
        text += more;
      },
    };
    const env = { DRIFT_FS_ROOT: join(directory, 'data') };
    return { code: await command({ flags: {}, env, cwd: directory, stdout: sink, stderr: sink }), text };
  }

  it('status, before there is a file, says what is missing and makes none', async () => {
    for (let times = 0; times < 2; times += 1) {
      const { code, text } = await outcome(runDbStatus);
      assert.equal(code, EXIT.FAILED);
      assert.match(text, /^sqlite:.*\/data\/drift\.db\nSchema 0 lacks core, /);
    }
  });

  it('migrate, makes what the program needs, and status says so', async () => {
    assert.equal((await outcome(runDbMigrate)).code, EXIT.OK);
    const { code, text } = await outcome(runDbStatus);
    assert.equal(code, EXIT.OK);
    assert.match(text, /Schema \d+ is what this program needs\.\n$/);
  });

  it('migrate, of a file that somebody serves, is refused', async () => {
    const lock = await lockDirectory(join(directory, 'data'));
    assert.equal((await outcome(runDbMigrate)).code, EXIT.ALREADY_RUNNING);
    await lock.release();
  });
});
