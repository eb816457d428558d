import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { filesOf, SUITES, type Suite } from './test-suites.ts';
import { findTool } from './tools.ts';

/**
 * `npm test` runs every suite that this machine can run and says what it left out; `npm test -- NAME…` runs the suites
 * whose names begin so. With CI=true what is missing is installed first, and nothing may be left out. `--kills N` makes
 * crash/kill kill so often.
 */
async function main(names: readonly string[]): Promise<number> {
  const chosen = SUITES.filter(
    (suite) => names.length === 0 || names.some((name) => suite.name.startsWith(name)),
  );
  if (chosen.length === 0) {
    console.error(`no such suite; there are: ${SUITES.map((suite) => suite.name).join(', ')}`);
    return 2;
  }
  const inCi = process.env.CI === 'true';
  if (inCi && chosen.some((suite) => lacking(suite) !== null)) installMissing();

  const leftOut: string[] = [];
  const totals = { passed: 0, failed: 0, failedSuites: [] as string[] };
  for (const suite of chosen) {
    const reason = lacking(suite);
    if (reason === null) await runInto(totals, suite);
    else leftOut.push(`left out: ${suite.name}: ${reason}`);
  }
  for (const line of leftOut) console.log(line);
  if (totals.failedSuites.length > 0) console.log(`failed suites: ${totals.failedSuites.join(', ')}`);
  console.log(`${totals.passed} passed, ${totals.failed} failed`);
  const incomplete = inCi && leftOut.length > 0;
  return totals.failedSuites.length > 0 || incomplete ? 1 : 0;
}

function lacking(suite: Suite): string | null {
  const missing = suite.needs.filter((name) => findTool(name) === null);
  if (missing.length > 0) return `${missing.join(', ')} not installed; scripts/setup-dev installs it`;
  if (suite.root === true && process.getuid?.() !== 0) return 'needs root; run it as root';
  return null;
}

function installMissing(): void {
  const setup = spawnSync('scripts/setup-dev', { stdio: 'inherit' });
  if (setup.status !== 0) throw new Error('scripts/setup-dev failed');
}

interface Totals {
  passed: number;
  failed: number;
  failedSuites: string[];
}

async function runInto(totals: Totals, suite: Suite): Promise<void> {
  const files = filesOf(suite);
  if (files.length === 0) {
    totals.failedSuites.push(`${suite.name} (no test file)`);
    return;
  }
  console.log(`\n== ${suite.name}`);
  for (const [name, reason] of Object.entries(suite.leftOut ?? {}))
    console.log(`not meant here: ${name}: ${reason}`);
  const started = Date.now();
  const { status, passed, failed } = await runFiles(files, suite);
  totals.passed += passed;
  totals.failed += failed;
  if (status !== 0 || passed === 0) totals.failedSuites.push(suite.name);
  console.log(
    `== ${suite.name}: ${passed} passed, ${failed} failed, ${Math.round((Date.now() - started) / 1000)} s`,
  );
}

async function runFiles(files: readonly string[], { concurrency, again, leftOut = {} }: Suite) {
  const skipped = Object.keys(leftOut).filter((name) => !name.endsWith('.ts'));
  const patterns = skipped.map((name) => `--test-skip-pattern=/${RegExp.escape(name)}$/`);
  const args = ['--test', '--test-reporter=spec', `--test-concurrency=${concurrency}`, ...patterns, ...files];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...again, NODE_TEST_CONTEXT: undefined },
  });
  let tail = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (text: string) => {
    process.stdout.write(text);
    tail = (tail + text).slice(-4096);
  });
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
  const count = (word: string) => Number(new RegExp(`^. ${word} (\\d+)$`, 'm').exec(tail)?.[1] ?? 0);
  return { status, passed: count('pass'), failed: count('fail') + count('cancelled') };
}

/** The suites' names; what suites take from the environment is put there. */
function readArguments(): readonly string[] {
  const { values, positionals } = parseArgs({
    options: { kills: { type: 'string' } },
    allowPositionals: true,
  });
  const { kills } = values;
  if (kills === undefined) return positionals;
  if (!/^[1-9]\d*$/.test(kills)) throw new TypeError(`--kills takes a whole number, not ${kills}`);
  process.env.KILLS = kills;
  return positionals;
}

mkdirSync('artefacts', { recursive: true });
process.exitCode = await main(readArguments());
