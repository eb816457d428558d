import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireTool } from '../../scripts/tools.ts';
import { type CommandResult, runCommand } from './docker-engine.ts';

export interface Containerd {
  ctr(args: readonly string[]): Promise<CommandResult>;
  stop(): Promise<void>;
}

const START_SECONDS_MAX = 60;

/** A real containerd with its own root and socket, below a folder that exists. */
export async function startContainerd(parent: string): Promise<Containerd> {
  const directory = join(parent, 'containerd');
  mkdirSync(directory);
  const file = (name: string) => join(directory, name);
  // The parts for Kubernetes and other snapshotters look for what a test machine need not have.
  const disabled = ['cri', 'aufs', 'btrfs', 'devmapper', 'zfs', 'overlayfs'].map((name) =>
    name === 'cri' ? 'io.containerd.grpc.v1.cri' : `io.containerd.snapshotter.v1.${name}`,
  );
  writeFileSync(file('config.toml'), `version = 2\ndisabled_plugins = ${JSON.stringify(disabled)}\n`);
  const log = openSync(file('containerd.log'), 'a');
  const daemon = spawn(
    requireTool('containerd'),
    [
      '--config',
      file('config.toml'),
      '--root',
      file('root'),
      '--state',
      file('state'),
      '--address',
      file('containerd.sock'),
    ],
    { stdio: ['ignore', log, log] },
  );
  const ctr = (args: readonly string[]) =>
    runCommand(requireTool('ctr'), ['--address', file('containerd.sock'), ...args]);
  const stop = () => stopContainerd(daemon, directory);
  const deadline = Date.now() + START_SECONDS_MAX * 1000;
  while (Date.now() < deadline && daemon.exitCode === null) {
    if ((await ctr(['--connect-timeout', '2s', 'version'])).code === 0) return { ctr, stop };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const said = readFileSync(file('containerd.log'), 'utf8').slice(-2000);
  await stop();
  throw new Error(`containerd did not start:\n${said}`);
}

async function stopContainerd(daemon: ChildProcess, directory: string): Promise<void> {
  if (daemon.exitCode === null) {
    const closed = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    await closed;
  }
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  for (const mount of mounts.filter((path) => path.startsWith(directory)).reverse()) {
    execFileSync('umount', ['-l', mount]);
  }
  rmSync(directory, { recursive: true, force: true });
}
