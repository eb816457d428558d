/** A start on a device without room. Needs root, to mount a small tmpfs; without root this fails rather than pretend. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmdirSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { EXIT } from '../../src/std/exit-codes.ts';
import { runDrift } from '../harness/spawn-drift.ts';

describe('drift serve on a full device', () => {
  let device: string;

  before(() => {
    device = mkdtempSync(join(tmpdir(), 'drift-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', device]);
    fill(join(device, 'filler'));
  });
  after(() => {
    execFileSync('umount', [device]);
    rmdirSync(device);
  });

  it('a data directory, whose device has no room, ends with one sentence and DATA_FULL', async () => {
    const { code, stderr } = await runDrift(['serve'], {
      dataDirectory: device,
      env: { DRIFT_USERS: 'admin:correct-horse-battery' },
    });
    assert.equal(code, EXIT.DATA_FULL, stderr);
    assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
    assert.match(stderr, /full|no room/i);
  });
});

/** Until nothing fits any more, down to the last page. */
function fill(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (;;) writeSync(file, Buffer.alloc(4096));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(file);
  }
}
