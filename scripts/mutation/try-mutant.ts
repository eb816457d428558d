import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** A mutant that makes a test hang is as good as one that makes it fail. */
const TEST_MILLISECONDS_MAX = 90_000;
const COPIED = ['src', 'test', 'bin', 'scripts', 'package.json', 'tsconfig.json'];

/** A copy of the tree in which one file at a time is another. */
export class Bench implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'drift-mutants-'));

  constructor() {
    for (const name of COPIED) cpSync(name, join(this.#directory, name), { recursive: true });
    symlinkSync(resolve('node_modules'), join(this.#directory, 'node_modules'));
  }

  /** Whether the tests, one file after another, all pass with this text in place of the file's own. */
  async survives(file: string, text: string, tests: readonly string[]): Promise<boolean> {
    const original = resolve(file);
    const place = join(this.#directory, file);
    writeFileSync(place, text);
    try {
      for (const test of tests) if (!(await this.#passes(test))) return false;
      return true;
    } finally {
      cpSync(original, place);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** The first failure decides: the rest of the file is not waited for. */
  #passes(test: string): Promise<boolean> {
    const args = ['--test', '--test-isolation=none', '--test-reporter=tap', test];
    const child = spawn(process.execPath, args, {
      cwd: this.#directory,
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), TEST_MILLISECONDS_MAX);
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text = (text + part).slice(-4096);
      if (/^ *not ok /m.test(text)) child.kill('SIGKILL');
    });
    return new Promise((done, failed) => {
      child.once('error', failed);
      child.once('close', (code) => {
        clearTimeout(timer);
        done(code === 0);
      });
    });
  }
}
