import { execFileSync } from 'node:child_process';
import {
  chmodSync,
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
import { delimiter, dirname, join } from 'node:path';
import type { DockerEngine } from '../harness/docker-engine.ts';
import { systemPath } from '../harness/system-path.ts';

/** What the Dockerfile and the npm in it call, and what a test looks with. */
const PROGRAMS = ['sh', 'env', 'find', 'mkdir', 'chown', 'chmod', 'rm', 'id', 'stat', 'touch'];
/** Beside what the programs above are linked with: Node from npm needs the last. */
const LIBRARIES_OF_NODE = [
  'libstdc++.so.6',
  'libgcc_s.so.1',
  'libm.so.6',
  'libdl.so.2',
  'libpthread.so.0',
  'libatomic.so.1',
];
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';

/**
 * A glibc base image with Node and npm, made of this machine's own files: no other registry is asked for one. How npm
 * reaches the package registry from here (authorities, registry, proxy) is the base's business, not the Dockerfile's.
 */
export async function importBaseImage(engine: DockerEngine, tag: string): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'drift-base-'));
  try {
    layOut(root);
    const archive = join(root, 'base.tar');
    execFileSync('tar', [
      '--create',
      `--file=${archive}`,
      '--exclude=./base.tar',
      `--directory=${root}`,
      '.',
    ]);
    const changes = existsSync(AUTHORITIES) ? ['--change', `ENV NODE_EXTRA_CA_CERTS=${AUTHORITIES}`] : [];
    await engine.docker(['import', ...changes, archive, tag]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function layOut(root: string): void {
  for (const directory of [
    'usr/bin',
    'usr/lib',
    'usr/lib64',
    'usr/etc',
    'etc/ssl/certs',
    'root',
    'proc',
    'sys',
    'dev',
  ]) {
    mkdirSync(join(root, directory), { recursive: true });
  }
  for (const name of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(root, name));
  mkdirSync(join(root, 'tmp'));
  chmodSync(join(root, 'tmp'), 0o1777);
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  const node = find('node');
  const programs = [...PROGRAMS.map(find), node];
  for (const path of programs) copy(root, path, `/usr/bin/${path.slice(path.lastIndexOf('/') + 1)}`);
  const libraries = new Set(programs.flatMap(librariesOf));
  for (const path of libraries) copy(root, path, path);
  for (const name of LIBRARIES_OF_NODE) {
    const path = libraryPath(name);
    if (path !== null && !libraries.has(path)) copy(root, path, path);
  }
  const npm = dirname(dirname(realpathSync(find('npm'))));
  cpSync(npm, join(root, 'usr/lib/node_modules/npm'), { recursive: true, verbatimSymlinks: true });
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/bin/npm'));
  if (existsSync(AUTHORITIES)) copy(root, AUTHORITIES, AUTHORITIES);
  writeFileSync(join(root, 'usr/etc/npmrc'), npmSettings());
}

function copy(root: string, from: string, to: string): void {
  const target = join(root, realLocation(to));
  mkdirSync(dirname(target), { recursive: true });
  cpSync(realpathSync(from), target);
}

/** `/lib…` and `/bin…` are links to below `/usr` in the image, as in Debian. */
function realLocation(path: string): string {
  return /^\/(?:bin|lib|lib64)\//.test(path) ? `/usr${path}` : path;
}

function find(name: string): string {
  for (const directory of systemPath().split(delimiter)) {
    const path = join(directory, name);
    if (existsSync(path)) return path;
  }
  throw new Error(`${name} is not in PATH`);
}

function librariesOf(program: string): string[] {
  const text = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
}

function libraryPath(name: string): string | null {
  const text = execFileSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' });
  const lines = text.split('\n').filter((line) => line.includes(`${name} (`) && line.includes('x86-64'));
  return /=> (\S+)/.exec(lines[0] ?? '')?.[1] ?? null;
}

/** What this machine's npm is told about its registry. */
function npmSettings(): string {
  const get = (key: string) =>
    execFileSync('npm', ['config', 'get', key], {
      encoding: 'utf8',
      env: { ...process.env, PATH: systemPath() },
    }).trim();
  return ['registry', 'cafile', 'proxy', 'https-proxy']
    .map((key) => [key, get(key)] as const)
    .filter(([, value]) => value !== '' && value !== 'null' && value !== 'undefined')
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}
