import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireTool } from '../../scripts/tools.ts';
import { type CommandResult, runCommand } from './docker-engine.ts';

export interface ContainersStorage {
  /** Both work on the same images. */
  run(
    tool: 'podman' | 'buildah',
    args: readonly string[],
    options?: { readonly stdin?: string; readonly authFile?: string },
  ): Promise<CommandResult>;
  dispose(): void;
}

/** Storage of images for podman and buildah that is nobody else's, below a folder that exists. */
export function createContainersStorage(parent: string): ContainersStorage {
  const directory = join(parent, 'containers');
  mkdirSync(directory);
  const nobody = join(directory, 'nobody.json');
  writeFileSync(nobody, '{"auths":{}}');
  const storage = ['--root', join(directory, 'root'), '--runroot', join(directory, 'run')];
  const options = {
    podman: [
      ...storage,
      '--storage-driver',
      'vfs',
      '--tmpdir',
      join(directory, 'tmp'),
      '--cgroup-manager',
      'cgroupfs',
    ],
    buildah: [...storage, '--storage-driver', 'vfs'],
  };
  return {
    run: (tool, args, { stdin = '', authFile = nobody } = {}) =>
      runCommand(requireTool(tool), [...options[tool], ...args], {
        stdin,
        env: { REGISTRY_AUTH_FILE: authFile, TMPDIR: directory, BUILDAH_ISOLATION: 'chroot' },
      }),
    dispose: () => {
      // A mount that a failed build left would keep its folder busy.
      const mounts = readFileSync('/proc/mounts', 'utf8')
        .split('\n')
        .map((line) => line.split(' ')[1] ?? '');
      for (const mount of mounts.filter((path) => path.startsWith(directory)).reverse()) {
        execFileSync('umount', ['-l', mount]);
      }
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
