import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import type { DockerEngine } from '../harness/docker-engine.ts';
import { systemPath } from '../harness/system-path.ts';

/** The files of an image, made of this machine's own: no other registry is asked for one. */
export class ImageRoot implements Disposable {
  readonly #path = mkdtempSync(join(tmpdir(), 'drift-image-'));
  readonly #libraries = new Set<string>();

  /** With these programs of this machine, by their names or paths, and what they are linked with. */
  constructor(programs: readonly string[]) {
    for (const path of ['/usr/bin', '/usr/lib', '/usr/lib64', '/etc', '/root', '/proc', '/sys', '/dev']) {
      this.directory(path);
    }
    for (const name of ['bin', 'lib', 'lib64']) this.link(`/${name}`, `usr/${name}`);
    this.directory('/tmp', { mode: 0o1777 });
    this.file('/etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n');
    this.file('/etc/group', 'root:x:0:\n');
    for (const program of programs) {
      const path = program.includes('/') ? program : findProgram(program);
      this.copy(path, `/usr/bin/${basename(path)}`);
      this.linkedWith(path);
    }
  }

  directory(path: string, options: { readonly mode?: number; readonly owner?: number } = {}): void {
    const { mode, owner } = options;
    const place = this.#place(path);
    mkdirSync(place, { recursive: true });
    if (mode !== undefined) chmodSync(place, mode);
    if (owner !== undefined) chownSync(place, owner, owner);
  }

  file(path: string, text: string, mode = 0o644): void {
    this.directory(dirname(path));
    writeFileSync(this.#place(path), text, { mode });
  }

  link(path: string, target: string): void {
    symlinkSync(target, this.#place(path));
  }

  /** A file or a folder of this machine. */
  copy(from: string, to = from, isWanted: (path: string) => boolean = () => true): void {
    this.directory(dirname(to));
    const options = { recursive: true, verbatimSymlinks: true, filter: isWanted };
    cpSync(realpathSync(from), this.#place(to), options);
  }

  /** The libraries that a program of this machine asks for. */
  linkedWith(program: string): void {
    const { stdout } = spawnSync('ldd', [program], { encoding: 'utf8' });
    for (const [, path = ''] of stdout.matchAll(/(\/\S+) \(0x/g)) this.#copyLibrary(path);
  }

  /** A library by its name, where this machine has it. */
  addLibrary(name: string): void {
    const text = execFileSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' });
    const line = text.split('\n').find((each) => each.includes(`${name} (`) && each.includes('x86-64'));
    const path = /=> (\S+)/.exec(line ?? '')?.[1];
    if (path !== undefined) this.#copyLibrary(path);
  }

  /** Into the engine, with these lines of a Dockerfile. */
  async import(engine: DockerEngine, tag: string, lines: readonly string[] = []): Promise<void> {
    const archive = `${this.#path}.tar`;
    try {
      execFileSync('tar', ['--create', `--file=${archive}`, `--directory=${this.#path}`, '.']);
      await engine.docker(['import', ...lines.flatMap((line) => ['--change', line]), archive, tag]);
    } finally {
      rmSync(archive, { force: true });
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#path, { recursive: true, force: true });
  }

  #copyLibrary(path: string): void {
    if (this.#libraries.has(path)) return;
    this.#libraries.add(path);
    this.copy(path);
  }

  /** `/lib…` and `/bin…` are links to below `/usr` in the image, as in Debian. */
  #place(path: string): string {
    return join(this.#path, /^\/(?:bin|lib|lib64)\//.test(path) ? `/usr${path}` : path);
  }
}

export function findProgram(name: string): string {
  for (const directory of systemPath().split(delimiter)) {
    const path = join(directory, name);
    if (existsSync(path)) return path;
  }
  throw new Error(`${name} is not in PATH`);
}
