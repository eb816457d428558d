import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DockerEngine } from '../harness/docker-engine.ts';
import { systemPath } from '../harness/system-path.ts';
import { findProgram, ImageRoot } from './image-root.ts';

/** What the Dockerfile and the npm in it call, and what a test looks with. */
const PROGRAMS = ['sh', 'env', 'find', 'mkdir', 'chown', 'chmod', 'rm', 'id', 'stat', 'touch', 'node'];
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
 * A glibc base image with Node and npm. How npm reaches the package registry from here (authorities, registry, proxy) is
 * the base's business, not the Dockerfile's.
 */
export async function importBaseImage(engine: DockerEngine, tag: string): Promise<void> {
  using root = new ImageRoot(PROGRAMS);
  for (const name of LIBRARIES_OF_NODE) root.addLibrary(name);
  root.copy(dirname(dirname(realpathSync(findProgram('npm')))), '/usr/lib/node_modules/npm');
  root.link('/usr/bin/npm', '../lib/node_modules/npm/bin/npm-cli.js');
  root.file('/usr/etc/npmrc', npmSettings());
  const hasAuthorities = existsSync(AUTHORITIES);
  if (hasAuthorities) root.copy(AUTHORITIES);
  await root.import(engine, tag, hasAuthorities ? [`ENV NODE_EXTRA_CA_CERTS=${AUTHORITIES}`] : []);
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
