import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { requireTool } from '../../scripts/tools.ts';
import { type CommandResult, runCommand } from './docker-engine.ts';

export interface Podman {
  /** Rejects when it fails. */
  run(args: readonly string[], stdin?: string): Promise<CommandResult>;
}

/** Podman with storage and logins in this folder. `prefix` goes before the command. */
export function openPodman(directory: string, prefix: readonly string[] = []): Podman {
  mkdirSync(directory, { recursive: true });
  const options = [
    `--root=${directory}/root`,
    `--runroot=${directory}/run`,
    `--tmpdir=${directory}/tmp`,
    '--storage-driver=vfs',
    '--cgroup-manager=cgroupfs',
    '--events-backend=none',
  ];
  return {
    run: async (args, stdin = '') => {
      const [program = '', ...rest] = [...prefix, requireTool('podman'), ...options, ...args];
      const result = await runCommand(program, rest, {
        stdin,
        env: { REGISTRY_AUTH_FILE: join(directory, 'auth.json'), TMPDIR: directory },
      });
      if (result.code !== 0) {
        throw new Error(`podman ${args.join(' ')}: ${result.code}\n${result.stdout}${result.stderr}`);
      }
      return result;
    },
  };
}
