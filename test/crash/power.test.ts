/**
 * Power cuts: the registry is killed under load and goes on with only what an fsync had covered. `CUTS=N` does more,
 * `CRASH_SEED` repeats the load.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { runDrift } from '../harness/spawn-drift.ts';
import { pushUntilCut } from './acts.ts';
import { startCrashServer } from './crash-server.ts';
import { Pusher } from './pusher.ts';
import { SeededRandom } from './seeded-random.ts';

const CUTS = Number(process.env.CUTS ?? 12);
const LOAD_MILLISECONDS_MAX = 1_500;
const FAMILY_EVERY = 5;
const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31));
console.log(`CRASH_SEED=${seed} CUTS=${CUTS}`);

it('a registry, whose power is cut again and again, has everything that it answered 201 or 202 for', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'drift-power-'));
  const library = join(directory, 'power-loss.so');
  const source = new URL('./power-loss.c', import.meta.url).pathname;
  await promisify(execFile)('gcc', ['-O1', '-Wall', '-Werror', '-shared', '-fPIC', '-o', library, source]);
  const random = new SeededRandom(seed);
  const pushers = [0, 1, 2].map((number) => new Pusher(`power/p${number}`, new SeededRandom(seed + number)));
  let data = join(directory, 'data-0');
  mkdirSync(data);
  let answered = 0;
  for (let cut = 1; cut <= CUTS + 1; cut += 1) {
    const kept = join(directory, `kept-${cut}`);
    mkdirSync(kept);
    keepAll(data, kept);
    const server = await startCrashServer({
      dataDirectory: data,
      as: cut % FAMILY_EVERY === 0 ? 'family' : 'alone',
      env: { LD_PRELOAD: library, POWER_ROOT: data, POWER_KEPT: kept },
    });
    if (server.port === null) assert.fail(`cut ${cut}: no start:\n${await server.ended}`);
    try {
      for (const pusher of pushers) await check(pusher, server.port, cut);
    } catch (error) {
      await server.killGroup();
      throw error;
    }
    if (cut > CUTS) {
      await server.killGroup();
      const fsck = await runDrift(['fsck', '--rehash'], { dataDirectory: data });
      // Waste is allowed: bytes whose claim was not durable yet. Damage is not.
      assert.equal(fsck.code, 0, fsck.stdout);
      break;
    }
    const load = pushers.map((pusher) => pushUntilCut(pusher));
    await sleep(random.integer(LOAD_MILLISECONDS_MAX));
    await server.killGroup();
    await Promise.all(load);
    answered = pushers.reduce((sum, { expected }) => sum + expected.keys.length, 0);
    const next = join(directory, `data-${cut}`);
    rebuild({ kept, inode: statSync(data).ino, to: next });
    rmSync(data, { recursive: true });
    rmSync(kept, { recursive: true });
    data = next;
  }
  for (const pusher of pushers) pusher.close();
  rmSync(directory, { recursive: true });
  console.log(`${CUTS} cuts, ${answered} names`);
  assert.ok(answered > CUTS, 'there was load');
});

async function check(pusher: Pusher, port: number, cut: number): Promise<void> {
  pusher.connect(port);
  try {
    pusher.expected.settle(await pusher.readBack(pusher.expected.keys));
  } catch (error) {
    throw new Error(`after cut ${cut - 1}: ${String(error)}`, { cause: error });
  }
}

/** What the registry finds at its start is durable. */
function keepAll(directory: string, kept: string): void {
  const entries = readdirSync(directory, { withFileTypes: true });
  const lines = entries.map((entry) => {
    const path = join(directory, entry.name);
    const { ino } = statSync(path);
    if (entry.isDirectory()) keepAll(path, kept);
    else copyFileSync(path, join(kept, String(ino)));
    return `${ino} ${entry.isDirectory() ? 'directory' : 'file'} ${entry.name}\n`;
  });
  writeFileSync(join(kept, String(statSync(directory).ino)), lines.join(''));
}

/** The tree that the disk would show: directories with the names, files with the bytes, of their last sync. */
function rebuild(tree: { readonly kept: string; readonly inode: number; readonly to: string }): void {
  mkdirSync(tree.to, { mode: 0o700 });
  const names = join(tree.kept, String(tree.inode));
  if (!existsSync(names)) return;
  for (const line of readFileSync(names, 'utf8').split('\n').filter(Boolean)) {
    const [inode = '', kind = '', name = ''] = line.split(' ');
    const to = join(tree.to, name);
    if (kind === 'directory') rebuild({ kept: tree.kept, inode: Number(inode), to });
    else if (existsSync(join(tree.kept, inode)))
      writeFileSync(to, readFileSync(join(tree.kept, inode)), { mode: 0o600 });
    // Its name is durable, its bytes never were.
    else writeFileSync(to, '', { mode: 0o600 });
  }
}
