import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** What fails, and a pattern (fnmatch) for the paths of which files. */
export type FailingRule = `${'read' | 'write' | 'sync'} ${string}`;

/** A device that fails where it is told to: a library preloaded into the server, beneath Node and SQLite. */
export class FailingDevice {
  /** For the server. */
  readonly env: Readonly<Record<string, string>>;
  readonly #rules: string;
  readonly #lost: string;

  private constructor(directory: string, library: string) {
    this.#rules = join(directory, 'rules');
    this.#lost = join(directory, 'lost');
    mkdirSync(this.#lost);
    this.env = { LD_PRELOAD: library, FAILING_RULES: this.#rules, FAILING_LOST: this.#lost };
  }

  /** Built in `directory`, which is the caller's. */
  static async build(directory: string): Promise<FailingDevice> {
    const library = join(directory, 'failing-device.so');
    const source = new URL('./failing-device.c', import.meta.url).pathname;
    await promisify(execFile)('gcc', ['-O1', '-Wall', '-Werror', '-shared', '-fPIC', '-o', library, source]);
    return new FailingDevice(directory, library);
  }

  fail(...rules: readonly FailingRule[]): void {
    this.failWith('EIO', ...rules);
  }

  failWith(code: 'EIO' | 'EROFS', ...rules: readonly FailingRule[]): void {
    const lines = rules.map((rule) => `${rule.replace(' ', ` ${constants.errno[code]} `)}\n`);
    // Whole or not at all: a server may be reading it.
    writeFileSync(`${this.#rules}-next`, lines.join(''));
    renameSync(`${this.#rules}-next`, this.#rules);
  }

  mend(): void {
    rmSync(this.#rules, { force: true });
  }

  /** Inodes of the files whose bytes a sync that failed may have lost. The server's data must be on the same file system. */
  lost(): ReadonlySet<number> {
    return new Set(readdirSync(this.#lost).map(Number));
  }
}
