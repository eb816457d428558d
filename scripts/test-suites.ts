import { globSync } from 'node:fs';
import type { Tool } from './tools.ts';

export interface Suite {
  readonly name: string;
  /** Globs of test files. */
  readonly files: readonly string[];
  /** Globs of files among them that belong to another suite. */
  readonly except?: readonly string[];
  /** The files run a second time in other circumstances, which these variables name. */
  readonly again?: Readonly<Record<string, string>>;
  /** Of those that run again: names of tests or files that cannot be meant there, each with its reason. */
  readonly leftOut?: Readonly<Record<string, string>>;
  readonly needs: readonly Tool[];
  /** What the suite needs of the machine beside programs. */
  readonly root?: boolean;
  /** Test files run one after another where they share an engine, a port or the processor's attention. */
  readonly concurrency: number;
}

/** Order: quickest answer first. */
const ONCE: readonly Suite[] = [
  { name: 'tidy', files: ['test/tidy/*.test.ts'], needs: [], concurrency: 2 },
  {
    name: 'unit',
    files: ['src/**/*.test.ts'],
    except: [
      'src/meta/postgres/*.test.ts',
      'src/blobs/{s3,ghostbay}/*.test.ts',
      'src/blobs/tiered/tiered-s3.test.ts',
    ],
    needs: [],
    concurrency: 2,
  },
  { name: 'v2', files: ['test/v2/*.test.ts'], needs: [], concurrency: 2 },
  { name: 'guard', files: ['test/guard/*.test.ts'], needs: [], concurrency: 2 },
  {
    name: 'services',
    files: ['test/services/*.test.ts'],
    needs: ['postgres', 'initdb', 'pg_basebackup', 'pgbouncer', 'minio', 'versitygw'],
    concurrency: 1,
  },
  {
    name: 'stores',
    files: [
      'src/meta/postgres/*.test.ts',
      'src/blobs/{s3,ghostbay}/*.test.ts',
      'src/blobs/tiered/tiered-s3.test.ts',
    ],
    needs: ['postgres', 'initdb', 'pg_basebackup', 'pgbouncer', 'minio', 'versitygw', 'openssl'],
    concurrency: 1,
  },
  {
    name: 's3',
    files: ['test/s3/*.test.ts'],
    except: ['test/s3/dialect.test.ts', 'test/s3/redirect-engines.test.ts'],
    needs: ['minio', 'crane', 'skopeo', 'curl'],
    concurrency: 1,
  },
  {
    name: 's3/redirect-engines',
    files: ['test/s3/redirect-engines.test.ts'],
    needs: ['minio', 'dockerd', 'docker', 'podman', 'containerd', 'ctr'],
    root: true,
    concurrency: 1,
  },
  {
    name: 's3/dialect',
    files: ['test/s3/dialect.test.ts'],
    needs: ['minio', 'openssl'],
    root: true,
    concurrency: 1,
  },
  { name: 'process', files: ['test/process/*.test.ts'], needs: [], concurrency: 1 },
  {
    name: 'nodes',
    files: ['test/nodes/*.test.ts'],
    except: ['test/nodes/partition.test.ts', 'test/nodes/kill.test.ts'],
    needs: ['postgres', 'initdb', 'minio', 'nginx'],
    concurrency: 1,
  },
  {
    name: 'nodes/partition',
    files: ['test/nodes/partition.test.ts'],
    needs: ['postgres', 'initdb', 'minio', 'ip'],
    root: true,
    concurrency: 1,
  },
  {
    name: 'faults',
    files: ['test/faults/*.test.ts'],
    needs: ['ip', 'gcc', 'postgres', 'initdb', 'minio'],
    root: true,
    concurrency: 1,
  },
  { name: 'crash/kill', files: ['test/crash/kill.test.ts'], needs: [], concurrency: 1 },
  { name: 'crash/power', files: ['test/crash/power.test.ts'], needs: ['gcc'], concurrency: 1 },
  { name: 'crash/model', files: ['test/crash/model.test.ts'], needs: [], concurrency: 1 },
  {
    name: 'nodes/kill',
    files: ['test/nodes/kill.test.ts'],
    needs: ['postgres', 'initdb', 'minio'],
    concurrency: 1,
  },
  { name: 'abuse/limits', files: ['test/abuse/limits.test.ts'], needs: [], concurrency: 1 },
  { name: 'abuse/requests', files: ['test/abuse/hostile-requests.test.ts'], needs: [], concurrency: 1 },
  { name: 'abuse/aborts', files: ['test/abuse/aborts.test.ts'], needs: [], concurrency: 1 },
  { name: 'conformance', files: ['test/conformance/*.test.ts'], needs: ['conformance'], concurrency: 1 },
  {
    name: 'clients/docker',
    files: ['test/clients/docker.test.ts'],
    needs: ['dockerd', 'docker', 'openssl'],
    root: true,
    concurrency: 1,
  },
  {
    name: 'clients/podman',
    files: ['test/clients/podman.test.ts'],
    needs: ['podman', 'buildah', 'openssl'],
    root: true,
    concurrency: 1,
  },
  {
    name: 'clients/skopeo',
    files: ['test/clients/skopeo.test.ts'],
    needs: ['skopeo', 'openssl'],
    concurrency: 1,
  },
  {
    name: 'clients/containerd',
    files: ['test/clients/containerd.test.ts'],
    needs: ['containerd', 'ctr', 'openssl'],
    root: true,
    concurrency: 1,
  },
  {
    name: 'clients/crane',
    files: ['test/clients/crane.test.ts'],
    needs: ['crane', 'openssl'],
    concurrency: 1,
  },
  {
    name: 'clients/regctl',
    files: ['test/clients/regctl.test.ts'],
    needs: ['regctl', 'openssl'],
    concurrency: 1,
  },
  { name: 'clients/oras', files: ['test/clients/oras.test.ts'], needs: ['oras', 'openssl'], concurrency: 1 },
  { name: 'clients/helm', files: ['test/clients/helm.test.ts'], needs: ['helm', 'openssl'], concurrency: 1 },
  {
    name: 'clients/cosign',
    files: ['test/clients/cosign.test.ts'],
    needs: ['cosign2', 'cosign3', 'crane', 'openssl'],
    concurrency: 1,
  },
  {
    name: 'clients/notation',
    files: ['test/clients/notation.test.ts'],
    needs: ['go', 'crane', 'openssl'],
    concurrency: 1,
  },
  {
    name: 'proxy',
    files: ['test/proxy/*.test.ts'],
    needs: ['nginx', 'dockerd', 'docker', 'podman', 'openssl', 'curl'],
    root: true,
    concurrency: 1,
  },
  {
    name: 'container',
    files: ['test/container/*.test.ts'],
    needs: ['dockerd', 'docker', 'docker-compose', 'minio', 'nginx', 'postgres', 'initdb', 'curl'],
    root: true,
    concurrency: 1,
  },
  {
    name: 'quick-start',
    files: ['test/quick-start/*.test.ts'],
    needs: ['dockerd', 'docker', 'podman'],
    root: true,
    concurrency: 1,
  },
];

const DEVICE = 'A bucket has no device that could be full, and no reserve on it.';
const OWN_PLACE =
  'In a bucket bytes stand for ever where their upload put them: those of no other upload come there.';

/** What runs again on PostgreSQL and S3, behind nginx, which gives each request to the next of several nodes (`test/harness/stack.ts`). */
const ON_NODES: Readonly<Record<string, Suite['leftOut']>> = {
  v2: {
    'test/v2/hostile-storage.test.ts': 'Looks into the directory of the file system driver.',
    'test/v2/hostile-aborts.test.ts':
      'Counts open files of this process, where connections to stores come and go.',
    'new content, when the device has less free than the reserve, is 507; reads and deletes go on': DEVICE,
    'a closing PUT that comes again, bytes placed torn, is unknown': OWN_PLACE,
    'sweepStaged removes bytes without an upload after the grace period, and no others':
      'Small uploads of a bucket are listed as blobs, and what belongs to no upload is swept as those are.',
    'a path with a zero byte or a percent sign alone is 400 and nothing else':
      'nginx refuses it itself, also with 400: no node hears of it.',
  },
  guard: {},
  conformance: {},
  ...Object.fromEntries(ONCE.filter(({ name }) => name.startsWith('clients/')).map(({ name }) => [name, {}])),
};

function filesAmong(leftOut: Suite['leftOut'] = {}): string[] {
  return Object.keys(leftOut).filter((name) => name.endsWith('.ts'));
}

function onNodes(suite: Suite, leftOut: Suite['leftOut']): Suite {
  return {
    ...suite,
    name: `nodes/${suite.name}`,
    again: { STACK: 'nodes' },
    leftOut: leftOut ?? {},
    except: [...(suite.except ?? []), ...filesAmong(leftOut)],
    needs: [...suite.needs, 'postgres', 'initdb', 'minio', 'nginx'],
  };
}

const NO_BASE_BACKUP = 'The package of PostgreSQL 18 has no pg_basebackup.';
const NOT_ON_NEWEST_POSTGRES = {
  'src/meta/postgres/replicas.test.ts': NO_BASE_BACKUP,
  'a replica, after a commit on its primary, comes to hold it': NO_BASE_BACKUP,
};

/** What runs again on the newest PostgreSQL (`test/harness/postgres.ts`). */
const ON_NEWEST_POSTGRES: Suite = {
  name: 'postgres-18',
  files: [
    'src/meta/postgres/*.test.ts',
    'test/services/postgres.test.ts',
    'test/faults/database-away.test.ts',
    'test/nodes/start-together.test.ts',
  ],
  except: filesAmong(NOT_ON_NEWEST_POSTGRES),
  again: { POSTGRES_VERSION: '18' },
  leftOut: NOT_ON_NEWEST_POSTGRES,
  needs: ['postgres18', 'pgbouncer', 'openssl'],
  concurrency: 1,
};

/** Every test file belongs to exactly one suite, apart from those that run `again` (`test/tidy/names.test.ts` holds that). */
export const SUITES: readonly Suite[] = [
  ...ONCE,
  ON_NEWEST_POSTGRES,
  ...Object.entries(ON_NODES).flatMap(([name, leftOut]) =>
    ONCE.filter((suite) => suite.name === name).map((suite) => onNodes(suite, leftOut)),
  ),
];

export function filesOf({ files, except = [] }: Suite): string[] {
  const left = new Set(except.flatMap((pattern) => globSync(pattern)));
  return files
    .flatMap((pattern) => globSync(pattern))
    .filter((file) => !left.has(file))
    .sort();
}
