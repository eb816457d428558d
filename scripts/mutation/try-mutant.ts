import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Target } from './targets.ts';

const COPIED = ['src', 'test', 'bin', 'scripts', 'package.json', 'tsconfig.json'];
/** A mutant that makes a test hang is as good as one that makes it fail: the time that it gets, by what the test takes. */
const TIMES_AS_LONG = 3;
const SPARE_MILLISECONDS = 2_000;
const FIRST_RUN_MILLISECONDS_MAX = 120_000;

export type Verdict = 'survives' | 'killed' | 'hung';

/** A copy of the tree in which one file at a time is another. */
export class Bench implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'drift-mutants-'));
  readonly #millisecondsMax = new Map<string, number>();

  constructor() {
    for (const name of COPIED) cpSync(name, join(this.#directory, name), { recursive: true });
    symlinkSync(resolve('node_modules'), join(this.#directory, 'node_modules'));
  }

  /** Learns how long the tests take on the file as it is. Throws when they fail. */
  async warmUp({ file, tests }: Target): Promise<void> {
    for (const test of tests) {
      const started = performance.now();
      if ((await this.#run(test, FIRST_RUN_MILLISECONDS_MAX)) !== 'survives') {
        throw new Error(`${test} fails on ${file} as it is`);
      }
      this.#millisecondsMax.set(test, TIMES_AS_LONG * (performance.now() - started) + SPARE_MILLISECONDS);
    }
  }

  /** Whether the tests, one file after another, all pass with this text in place of the file's own. */
  async try({ file, tests }: Target, text: string): Promise<Verdict> {
    const place = join(this.#directory, file);
    writeFileSync(place, text);
    try {
      for (const test of tests) {
        const millisecondsMax = this.#millisecondsMax.get(test) ?? FIRST_RUN_MILLISECONDS_MAX;
        let verdict = await this.#run(test, millisecondsMax);
        // A machine that was busy with something else is no endless loop.
        if (verdict === 'hung') verdict = await this.#run(test, 3 * millisecondsMax);
        if (verdict !== 'survives') return verdict;
      }
      return 'survives';
    } finally {
      cpSync(resolve(file), place);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** The first failure decides: the rest of the file is not waited for. */
  #run(test: string, millisecondsMax: number): Promise<Verdict> {
    const isSeeded = readFileSync(test, 'utf8').includes("from 'fast-check'");
    const preload = isSeeded ? ['--import', './scripts/mutation/fixed-seed.ts'] : [];
    const child = spawn(
      process.execPath,
      [...preload, '--test', '--test-isolation=none', '--test-reporter=tap', test],
      {
        cwd: this.#directory,
        // What was compiled once, in the first run, halves the time that a small test takes.
        env: {
          ...process.env,
          NODE_TEST_CONTEXT: undefined,
          NODE_COMPILE_CACHE: join(this.#directory, '.compiled'),
        },
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    let verdict: Verdict | null = null;
    const end = (early: Verdict): void => {
      verdict ??= early;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => end('hung'), millisecondsMax);
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text = (text + part).slice(-4096);
      if (/^ *not ok /m.test(text)) end('killed');
    });
    return new Promise((done, failed) => {
      child.once('error', failed);
      child.once('close', (code) => {
        clearTimeout(timer);
        done(verdict ?? (code === 0 ? 'survives' : 'killed'));
      });
    });
  }
}
