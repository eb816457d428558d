import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  DEBIAN_EXTRAS,
  DEBIAN_TOOLS,
  type DebianTool,
  findTool,
  GO_TOOLS,
  type GoTool,
  goToolDirectory,
  NPM_TOOLS,
  type NpmTool,
  npmToolDirectory,
} from './tools.ts';

/** Installs what the full test run needs beside Node. Safe to run again: only what is missing is installed. */
function main(): void {
  installDebianPackages();
  installNpmTools();
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

function installNpmTools(): void {
  const missing = (Object.keys(NPM_TOOLS) as NpmTool[]).filter((name) => findTool(name) === null);
  for (const name of missing) {
    const tool = NPM_TOOLS[name];
    const directory = npmToolDirectory(name);
    // What was cut off half-way is never taken for the tool.
    const unfinished = `${directory}.unfinished`;
    for (const left of [unfinished, directory]) rmSync(left, { recursive: true, force: true });
    mkdirSync(unfinished, { recursive: true });
    const wanted = `${tool.package}@${tool.version}`;
    console.log(`setup-dev: npm install ${wanted}`);
    // Whether npm runs scripts of packages is everybody's own setting: the one that is needed is run here.
    const options = ['--prefix', unfinished, '--ignore-scripts', '--no-audit', '--no-fund'];
    execFileSync('npm', ['install', ...options, wanted], { stdio: ['ignore', 'ignore', 'inherit'] });
    const packageDirectory = join(unfinished, 'node_modules', tool.package);
    execFileSync(process.execPath, [tool.finish], { cwd: packageDirectory, stdio: 'inherit' });
    renameSync(unfinished, directory);
  }
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
