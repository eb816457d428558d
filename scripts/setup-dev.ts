import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import {
  DEBIAN_EXTRAS,
  DEBIAN_TOOLS,
  type DebianTool,
  findTool,
  GO_TOOLS,
  type GoTool,
  goToolDirectory,
} from './tools.ts';

/** Installs what the full test run needs beside Node. Safe to run again: only what is missing is installed. */
function main(): void {
  installDebianPackages();
  installGoTools();
  console.log('setup-dev: everything that the tests use is installed');
}

function installDebianPackages(): void {
  const missing = (Object.keys(DEBIAN_TOOLS) as DebianTool[]).filter((name) => findTool(name) === null);
  if (missing.length === 0) return;
  if (findTool('curl') === null && spawnSync('apt-get', ['--version']).status !== 0) {
    throw new Error(`these are missing and apt-get is not here to install them: ${missing.join(', ')}`);
  }
  const packages = new Set<string>([...missing.map((name) => DEBIAN_TOOLS[name]), ...DEBIAN_EXTRAS]);
  console.log(`setup-dev: apt-get install ${[...packages].join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  execFileSync('apt-get', ['update', '-qq'], { stdio: ['ignore', 'ignore', 'inherit'], env });
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env,
  });
}

function installGoTools(): void {
  const missing = (Object.keys(GO_TOOLS) as GoTool[]).filter((name) => findTool(name) === null);
  if (missing.length === 0) return;
  if (findTool('go') === null) {
    throw new Error(
      `Go 1.26 or newer is needed to build ${missing.join(', ')}: install Go and run this again`,
    );
  }
  for (const name of missing) {
    const { module, version } = GO_TOOLS[name];
    const directory = goToolDirectory(name);
    mkdirSync(directory, { recursive: true });
    console.log(`setup-dev: go install ${module}@${version}`);
    execFileSync('go', ['install', `${module}@${version}`], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, GOBIN: directory, GOFLAGS: '-trimpath' },
    });
  }
}

main();
