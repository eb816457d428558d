import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EXIT } from '../std/exit-codes.ts';
import { runConfigCheck } from './config-check.ts';
import { runConfigShow } from './config-show.ts';

function run(command: typeof runConfigCheck, env: Record<string, string>) {
  const out: string[] = [];
  const err: string[] = [];
  const code = command({
    flags: {},
    env,
    cwd: '/',
    stdout: { write: (text) => out.push(text) },
    stderr: { write: (text) => err.push(text) },
  });
  return { code, out: out.join(''), err: err.join('') };
}

describe('drift config', () => {
  it('check, with a right configuration, says so and warns', () => {
    const { code, out, err } = run(runConfigCheck, { DRIFT_USERS: 'admin:changeme' });
    assert.equal(code, EXIT.OK);
    assert.match(out, /is valid/);
    assert.match(err, /^warning: The password of user "admin"/);
  });

  it('show, with a right configuration, prints values and sources', () => {
    const { code, out } = run(runConfigShow, { DRIFT_WORKERS: '3' });
    assert.equal(code, EXIT.OK);
    assert.match(out, /server\.workers += 3 {2}\(DRIFT_WORKERS\)/);
  });

  for (const command of [runConfigCheck, runConfigShow]) {
    it(`${command.name}, with two problems, prints both and ends with 78`, () => {
      const { code, out, err } = run(command, { DRIFT_AUTH: 'oidc', DRIFT_WORKERSS: '2' });
      assert.equal(code, 78);
      assert.equal(out, '');
      assert.match(
        err,
        /2 problems:\n {2}DRIFT_AUTH: .*\n {2}DRIFT_WORKERSS: .*did you mean DRIFT_WORKERS\?/,
      );
    });
  }
});
