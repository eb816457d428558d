import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requireTool } from '../../scripts/tools.ts';

const run = promisify(execFile);

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface DockerEngine {
  readonly directory: string;
  /** Of the docker client: `unix://…`. */
  readonly socket: string;
  /** Registries at this `host:port` are spoken to over TLS with this authority, until the engine stops. */
  trust(hostAndPort: string, authorityFile: string): void;
  /** Runs the docker client with its own configuration folder; rejects when it fails. */
  docker(args: readonly string[], options?: DockerOptions): Promise<CommandResult>;
  /** The same, but a failure is a result. */
  tryDocker(args: readonly string[], options?: DockerOptions): Promise<CommandResult>;
  stop(): Promise<void>;
}

export interface DockerOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string;
  /** Another folder of client configuration: another logged-in user. */
  readonly config?: string;
}

const START_SECONDS_MAX = 60;

/**
 * A real Docker engine with its own data root and socket; no bridge, so it runs where nested networks do not. It takes the
 * best storage driver that works here, at worst vfs.
 */
export async function startDockerEngine(
  /** What goes before the engine's command. */
  prefix: readonly string[] = [],
): Promise<DockerEngine> {
  const directory = mkdtempSync(join(tmpdir(), 'drift-docker-'));
  const socket = `unix://${directory}/docker.sock`;
  mkdirSync(join(directory, 'config'));
  const log = openSync(join(directory, 'dockerd.log'), 'a');
  const [program, ...before] = [...prefix, requireTool('dockerd')];
  const daemon = spawn(
    program,
    [
      ...before,
      '--iptables=false',
      '--ip6tables=false',
      '--bridge=none',
      `--data-root=${directory}/data`,
      `--exec-root=${directory}/exec`,
      `--pidfile=${directory}/docker.pid`,
      `--host=${socket}`,
    ],
    { stdio: ['ignore', log, log] },
  );
  const command = async (args: readonly string[], options: DockerOptions = {}) => {
    const config = join(directory, options.config ?? 'config');
    mkdirSync(config, { recursive: true });
    return runCommand(requireTool('docker'), ['--host', socket, ...args], {
      ...options,
      env: { DOCKER_CONFIG: config, DOCKER_BUILDKIT: '0', ...options.env },
    });
  };
  const trusted: string[] = [];
  const engine: DockerEngine = {
    directory,
    socket,
    trust: (hostAndPort, authorityFile) => {
      // The engine has no option for another folder.
      const folder = join('/etc/docker/certs.d', hostAndPort);
      trusted.push(folder);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'ca.crt'), readFileSync(authorityFile));
    },
    tryDocker: command,
    docker: async (args, options) => {
      const result = await command(args, options);
      if (result.code !== 0)
        throw new Error(`docker ${args.join(' ')}: ${result.code}\n${result.stdout}${result.stderr}`);
      return result;
    },
    stop: async () => {
      for (const folder of trusted) rmSync(folder, { recursive: true, force: true });
      await stopEngine(daemon, directory);
    },
  };
  await waitUntilReady(engine, daemon, directory);
  return engine;
}

/** Runs a program to its end and returns what it said, whatever its exit code. */
export async function runCommand(
  path: string,
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly cwd?: string;
    readonly stdin?: string;
  } = {},
): Promise<CommandResult> {
  const child = spawn(path, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => {});
  child.stdin.end(options.stdin ?? '');
  const [code] = (await once(child, 'close')) as [number | null];
  return { code: code ?? 1, stdout, stderr };
}

async function waitUntilReady(engine: DockerEngine, daemon: ChildProcess, directory: string): Promise<void> {
  const deadline = Date.now() + START_SECONDS_MAX * 1000;
  while (Date.now() < deadline && daemon.exitCode === null) {
    if ((await engine.tryDocker(['version'])).code === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  const log = readFileSync(join(directory, 'dockerd.log'), 'utf8').slice(-2000);
  await stopEngine(daemon, directory);
  throw new Error(`the docker engine did not start:\n${log}`);
}

async function stopEngine(daemon: ChildProcess, directory: string): Promise<void> {
  if (daemon.exitCode === null) {
    const closed = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    await closed;
  }
  // Mounts that the engine left would keep their folders busy.
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  for (const mount of mounts.filter((path) => path.startsWith(directory)).reverse()) {
    await run('umount', ['-l', mount]).catch(() => {});
  }
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}
