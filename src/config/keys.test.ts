import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Config } from './config.ts';
import type { Key } from './key.ts';
import { KEYS, type KeyId } from './keys.ts';
import { problems, read, type Setup, setting } from './try-config.ts';

const ARGON2 = '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz';
const BCRYPT = `$2y$10$${'a'.repeat(53)}`;
const HOUR = 3600;
const DAY = 24 * HOUR;

type Effect = readonly [setting: string, pick: (config: Config) => unknown, expected: unknown];

/** TOML as `table.key = value`, environment as `NAME=value`; what becomes of it. */
const EFFECTS: readonly Effect[] = [
  ['server.bind_addr = "127.0.0.1:5002"', ({ server }) => server.bind, { host: '127.0.0.1', port: 5002 }],
  ['DRIFT_BIND_ADDR=[::1]:5002', ({ server }) => server.bind, { host: '::1', port: 5002 }],
  ['server.ui_addr = "0.0.0.0:5003"', ({ server }) => server.ui, { host: '0.0.0.0', port: 5003 }],
  ['DRIFT_UI_ADDR=:5003', ({ server }) => server.ui, { host: '0.0.0.0', port: 5003 }],
  ['server.workers = 4', ({ server }) => server.workers, 4],
  ['DRIFT_WORKERS=4', ({ server }) => server.workers, 4],
  ['server.max_connections = 500', ({ limits }) => limits.connectionsMax, 500],
  [
    'server.external_url = "https://r.example.com/"',
    ({ server }) => server.externalUrl,
    'https://r.example.com',
  ],
  [
    'DRIFT_TRUSTED_PROXIES=10.1.2.3,fd00::/8',
    ({ server }) => server.trustedProxies,
    ['10.1.2.3/32', 'fd00::/8'],
  ],
  [
    'server.trusted_client_proxies = ["10.0.0.0/8"]',
    ({ server }) => server.trustedClientProxies,
    ['10.0.0.0/8'],
  ],
  ['server.drain_time = "2m"', ({ server }) => server.drainSecondsMax, 120],
  ['auth.mode = "basic"', ({ auth }) => auth.mode, 'basic'],
  ['DRIFT_AUTH=basic', ({ auth }) => auth.mode, 'basic'],
  ['DRIFT_AUTH_MODE=basic', ({ auth }) => auth.mode, 'basic'],
  ['auth.anonymous_pull = true', ({ auth }) => auth.anonymousPull, ['**']],
  ['auth.anonymous_pull = ["public/**"]', ({ auth }) => auth.anonymousPull, ['public/**']],
  ['DRIFT_ANONYMOUS_PULL=true', ({ auth }) => auth.anonymousPull, ['**']],
  ['DRIFT_ANONYMOUS_PULL=a/*,b/**', ({ auth }) => auth.anonymousPull, ['a/*', 'b/**']],
  ['auth.token_expiry_hours = 12', ({ auth }) => auth.accessTokenSeconds, 12 * HOUR],
  ['auth.access_token_lifetime = "15m"', ({ auth }) => auth.accessTokenSeconds, 900],
  ['DRIFT_REFRESH_TOKEN_LIFETIME=7d', ({ auth }) => auth.refreshTokenSeconds, 7 * DAY],
  ['auth.service = "registry.example.com"', ({ auth }) => auth.service, 'registry.example.com'],
  ['basic.users = ["admin:changeme", "ci:tokenonly"]', passwords, { admin: 'changeme', ci: 'tokenonly' }],
  ['auth.basic.users = ["admin:changeme"]', passwords, { admin: 'changeme' }],
  ['DRIFT_USERS=admin:changeme,ci:tokenonly', passwords, { admin: 'changeme', ci: 'tokenonly' }],
  ['DRIFT_USERS=a:with:colon', passwords, { a: 'with:colon' }],
  [`DRIFT_USERS=a:${ARGON2},b:${BCRYPT},c:plain`, passwords, { a: ARGON2, b: BCRYPT, c: 'plain' }],
  [`basic.users = ["a:b,c"]`, passwords, { a: 'b,c' }],
  ['storage.backend = "fs"', ({ storage }) => storage.backend, 'fs'],
  ['DRIFT_STORAGE_BACKEND=fs', ({ storage }) => storage.backend, 'fs'],
  ['storage.type = "filesystem"', ({ storage }) => storage.backend, 'fs'],
  ['DRIFT_STORAGE_BACKEND=memory', ({ storage, server }) => [storage.backend, server.workers], ['memory', 1]],
  ['storage.fs_root = "/var/lib/drift"', ({ storage }) => storage, storageAt('/var/lib/drift')],
  ['DRIFT_FS_ROOT=/var/lib/drift', ({ storage }) => storage, storageAt('/var/lib/drift')],
  ['storage.path = "/srv"', ({ storage }) => storage.root, '/srv'],
  ['DRIFT_STORAGE_PATH=/srv', ({ storage }) => storage.root, '/srv'],
  ['storage.reserve = "10 GiB"', ({ storage }) => storage.reserveBytes, 10 * 1024 ** 3],
  ['storage.reserve = 0', ({ storage }) => storage.reserveBytes, 0],
  ['DRIFT_STORAGE_BACKEND=filesystem', ({ storage }) => storage.backend, 'fs'],
  ['database.backend = "sqlite"', ({ storage }) => storage.backend, 'fs'],
  [
    'database.sqlite_path = "/srv/names.db"',
    ({ database }) => database,
    { backend: 'sqlite', file: '/srv/names.db' },
  ],
  [
    'retention.immutable_tags = ["release", "v*"]',
    ({ retention }) => retention.immutableTags,
    ['release', 'v*'],
  ],
  ['registry.immutable_tags = ["release"]', ({ retention }) => retention.immutableTags, ['release']],
  ['retention.min_age_days = 7', ({ retention }) => retention.minAgeSeconds, 7 * DAY],
  ['registry.min_age_days = 2', ({ retention }) => retention.minAgeSeconds, 2 * DAY],
  ['DRIFT_MIN_AGE_DAYS=3', ({ retention }) => retention.minAgeSeconds, 3 * DAY],
  ['registry.sparse_indexes = true', ({ registry }) => registry.sparseIndexes, true],
  ['DRIFT_DELETES=false', ({ registry }) => registry.deletes, false],
  ['registry.max_upload_size_mb = 1000', ({ limits }) => limits.blobBytesMax, 1000 * 1024 ** 2],
  ['DRIFT_MAX_UPLOAD_SIZE_MB=1000', ({ limits }) => limits.blobBytesMax, 1000 * 1024 ** 2],
  ['limits.manifest_size = "512KiB"', ({ limits }) => limits.manifestBytesMax, 512 * 1024],
  ['limits.upload_idle = 7200', ({ limits }) => limits.uploadIdleSecondsMax, 7200],
  ['logging.level = "info,access=debug"', ({ logging }) => logging.filter, 'info,access=debug'],
  ['DRIFT_LOG=warn', ({ logging }) => logging.filter, 'warn'],
  ['RUST_LOG=info', ({ logging }) => logging.filter, 'info'],
  ['RUST_LOG=drift=debug,info', ({ logging }) => logging.filter, 'debug'],
  ['RUST_LOG=info,drift::access=debug', ({ logging }) => logging.filter, 'info,access=debug'],
  ['RUST_LOG=hyper=debug', ({ logging }) => logging.filter, 'info'],
  ['logging.format = "json"', ({ logging }) => logging.format, 'json'],
];

const PART = /is not part of this version/;
/** What the original knew and this version refuses, with the reason. */
const REFUSALS: readonly (readonly [setting: string, reason: RegExp])[] = [
  ['auth.mode = "oidc"', PART],
  ['auth.mode = "token"', PART],
  ['DRIFT_AUTH=oidc', PART],
  ['DRIFT_AUTH=token', PART],
  ['DRIFT_OIDC_ISSUER=https://auth.example.com/realms/main', PART],
  ['DRIFT_OIDC_CLIENT_ID=drift', PART],
  ['DRIFT_OIDC_CLIENT_SECRET=x', PART],
  ['DRIFT_OIDC_CLIENT_SECRET_FILE=x', PART],
  ...['issuer', 'client_id', 'client_secret'].map((name) => [`oidc.${name} = "x"`, PART] as const),
  ...['issuer', 'client_id', 'client_secret'].map((name) => [`auth.oidc.${name} = "x"`, PART] as const),
  ['ghostbay.max_object_size_gb = 50', /no such setting/],
  ['DRIFT_GHOSTBAY_ENABLE_S3_COMPAT=true', /no such setting/],
  ['quic.enabled = true', PART],
  ['DRIFT_QUIC_ENABLED=true', PART],
  ['rbac.enabled = true', PART],
  ['DRIFT_RBAC_ENABLED=true', PART],
  ['cluster.node_id = "a"', /server\.node_name names one/],
  ['signing.enabled = true', PART],
  ['cache.redis_url = "x"', PART],
  ['bolt.enable_profile_validation = true', PART],
  ['DRIFT_BOLT_AUTO_UPDATE_PROFILES=true', PART],
  ['DRIFT_AZURE_TENANT_ID=x', PART],
  ['DRIFT_GITHUB_CLIENT_ID=x', PART],
  ['database.backend = "zqlite"', PART],
  ['audit.enabled = true', PART],
  ['garbage_collector.interval = 1', PART],
  ['registry.rate_limit_per_hour = 1000', PART],
  ['DRIFT_RATE_LIMIT_PER_HOUR=1000', PART],
  ['auth.jwt_secret = "x"', /rotates itself/],
  ['DRIFT_AUTH_JWT_SECRET=x', /rotates itself/],
  ['metrics.enabled = true', /always served/],
];

function passwords({ secrets }: Config): unknown {
  return Object.fromEntries(secrets.passwords);
}

function storageAt(root: string): Config['storage'] {
  const redirect = { mode: 'auto', bytesMin: 1024 ** 2, seconds: 300 } as const;
  return {
    backend: 'fs',
    root,
    reserveBytes: 1024 ** 3,
    redirect,
    s3: null,
    ghostbay: null,
    tiered: null,
    migrateFrom: 'none',
  };
}

const POSTGRES_URL = 'postgres://drift:secret@db.example.com/drift';
const POSTGRES = { DRIFT_DATABASE_BACKEND: 'postgres', DRIFT_DATABASE_URL: POSTGRES_URL };

const GHOSTBAY = {
  DRIFT_STORAGE_BACKEND: 'ghostbay',
  DRIFT_GHOSTBAY_ENDPOINT: 'http://ghostbay:8080',
  DRIFT_GHOSTBAY_BUCKET: 'drift-registry',
  DRIFT_GHOSTBAY_ACCESS_KEY: 'AKIA0000000000000000',
  DRIFT_GHOSTBAY_SECRET_KEY: 'secret',
};

/** All that GhostBay needs but for one name, which is set elsewhere. */
function ghostbayWithout(name: keyof typeof GHOSTBAY): Record<string, string> {
  return Object.fromEntries(Object.entries(GHOSTBAY).filter(([other]) => other !== name));
}

const S3 = { DRIFT_STORAGE_BACKEND: 's3', DRIFT_S3_BUCKET: 'drift' };
const TIERED = {
  DRIFT_STORAGE_BACKEND: 'tiered',
  DRIFT_TIERED_HOT_PATH: '/mnt/hot',
  DRIFT_S3_BUCKET: 'drift',
};

/** For each key a value that is not its default: as environment text and as TOML. */
const SAMPLES: Record<KeyId, readonly [text: string, toml: string]> = {
  bind: ['127.0.0.1:1', '"127.0.0.1:1"'],
  ui: ['127.0.0.1:1', '"127.0.0.1:1"'],
  workers: ['97', '97'],
  nodeName: ['node-97', '"node-97"'],
  externalUrl: ['https://r.example.com', '"https://r.example.com"'],
  trustedProxies: ['10.0.0.0/8', '["10.0.0.0/8"]'],
  trustedClientProxies: ['10.0.0.0/8', '["10.0.0.0/8"]'],
  drain: ['2m', '"2m"'],
  tlsCertificate: ['/c.pem', '"/c.pem"'],
  tlsKey: ['/k.pem', '"/k.pem"'],
  authMode: ['basic', '"basic"'],
  anonymousPull: ['a/**', '["a/**"]'],
  accessToken: ['11', '11'],
  refreshToken: ['2d', '"2d"'],
  service: ['other', '"other"'],
  users: ['ci:long-enough', '["ci:long-enough"]'],
  htpasswd: ['people', '"people"'],
  userScopes: ['ci=repository:a:pull', '{ ci = ["repository:a:pull"] }'],
  backend: ['memory', '"memory"'],
  migrateFrom: ['fs', '"fs"'],
  root: ['/srv', '"/srv"'],
  reserve: ['1 MiB', '"1 MiB"'],
  redirect: ['off', '"off"'],
  redirectSize: ['2 MiB', '"2 MiB"'],
  redirectLifetime: ['1m', '"1m"'],
  s3PublicEndpoint: ['https://s3.example.com', '"https://s3.example.com"'],
  ghostbayEndpoint: ['http://other:8080', '"http://other:8080"'],
  ghostbayBucket: ['other', '"other"'],
  ghostbayAccessKey: ['other', '"other"'],
  ghostbaySecretKey: ['other', '"other"'],
  ghostbaySegment: ['5 MiB', '"5 MiB"'],
  ghostbayUploadMemory: ['512 MiB', '"512 MiB"'],
  s3Bucket: ['drift', '"drift"'],
  s3Prefix: ['a/b', '"a/b"'],
  s3Endpoint: ['https://s3.example.com', '"https://s3.example.com"'],
  s3Region: ['eu-central-1', '"eu-central-1"'],
  s3PathStyle: ['true', 'true'],
  s3AccessKey: ['a', '"a"'],
  s3SecretKey: ['b', '"b"'],
  s3SessionToken: ['c', '"c"'],
  s3StorageClass: ['STANDARD_IA', '"STANDARD_IA"'],
  s3Encryption: ['AES256', '"AES256"'],
  s3KmsKey: ['key', '"key"'],
  s3CaFile: ['/ca.pem', '"/ca.pem"'],
  s3PartSize: ['8 MiB', '"8 MiB"'],
  s3UploadConcurrency: ['2', '2'],
  s3UploadMemory: ['128 MiB', '"128 MiB"'],
  s3Connections: ['5', '5'],
  s3ConnectTime: ['5s', '"5s"'],
  s3RequestTime: ['5s', '"5s"'],
  s3Attempts: ['5', '5'],
  tieredMode: ['write-back', '"write-back"'],
  tieredCold: ['fs', '"fs"'],
  tieredHotPath: ['/mnt/fast', '"/mnt/fast"'],
  tieredHotSize: ['1 GiB', '"1 GiB"'],
  tieredHotAge: ['1d', '"1d"'],
  tieredBacklog: ['1 GiB', '"1 GiB"'],
  tieredUploads: ['5', '5'],
  databaseBackend: ['postgres', '"postgres"'],
  databaseUrl: [POSTGRES_URL, `"${POSTGRES_URL}"`],
  databaseReplicaUrls: [POSTGRES_URL, `["${POSTGRES_URL}"]`],
  databaseListenUrl: [POSTGRES_URL, `"${POSTGRES_URL}"`],
  databaseConnections: ['5', '5'],
  databaseWaiting: ['5', '5'],
  databaseConnectTime: ['5s', '"5s"'],
  databaseQueryTime: ['5s', '"5s"'],
  databasePartitions: ['5', '5'],
  ledger: ['/srv/d.db', '"/srv/d.db"'],
  immutableTags: ['release', '["release"]'],
  minAge: ['3', '3'],
  sparseIndexes: ['true', 'true'],
  deletes: ['false', 'false'],
  manifestSize: ['1 MiB', '"1 MiB"'],
  blobSize: ['2097152', '2097152'],
  uploadIdle: ['1h', '"1h"'],
  uploadsOpen: ['5', '5'],
  bodyIdle: ['5s', '"5s"'],
  connectionsPerAddress: ['5', '5'],
  connections: ['5', '5'],
  ranges: ['5', '5'],
  pageEntries: ['5', '5'],
  tagParameters: ['5', '5'],
  descriptors: ['5', '5'],
  passwordChecks: ['5', '5'],
  memoryCache: ['1 MiB', '"1 MiB"'],
  logFilter: ['debug', '"debug"'],
  logFormat: ['json', '"json"'],
};

/** What a key needs beside it to be right. */
const BESIDE: Partial<Record<KeyId, Record<string, string>>> = {
  tlsCertificate: { DRIFT_TLS_KEY: '/k.pem' },
  tlsKey: { DRIFT_TLS_CERT: '/c.pem' },
  userScopes: { DRIFT_USERS: 'ci:long-enough' },
  redirect: S3,
  redirectSize: S3,
  redirectLifetime: S3,
  s3PublicEndpoint: S3,
  ghostbayEndpoint: ghostbayWithout('DRIFT_GHOSTBAY_ENDPOINT'),
  ghostbayBucket: ghostbayWithout('DRIFT_GHOSTBAY_BUCKET'),
  ghostbayAccessKey: ghostbayWithout('DRIFT_GHOSTBAY_ACCESS_KEY'),
  ghostbaySecretKey: ghostbayWithout('DRIFT_GHOSTBAY_SECRET_KEY'),
  ghostbaySegment: GHOSTBAY,
  ghostbayUploadMemory: GHOSTBAY,
  migrateFrom: S3,
  s3Bucket: { DRIFT_STORAGE_BACKEND: 's3' },
  s3Prefix: S3,
  s3Endpoint: S3,
  s3Region: S3,
  s3PathStyle: S3,
  s3AccessKey: { ...S3, DRIFT_S3_SECRET_KEY: 'b' },
  s3SecretKey: { ...S3, DRIFT_S3_ACCESS_KEY: 'a' },
  s3SessionToken: { ...S3, DRIFT_S3_ACCESS_KEY: 'a', DRIFT_S3_SECRET_KEY: 'b' },
  s3StorageClass: S3,
  s3Encryption: S3,
  s3KmsKey: { ...S3, DRIFT_S3_ENCRYPTION: 'aws:kms' },
  s3CaFile: S3,
  s3PartSize: S3,
  s3UploadConcurrency: S3,
  s3UploadMemory: S3,
  s3Connections: S3,
  s3ConnectTime: S3,
  s3RequestTime: S3,
  s3Attempts: S3,
  tieredMode: TIERED,
  tieredCold: { DRIFT_STORAGE_BACKEND: 'tiered', DRIFT_TIERED_HOT_PATH: '/mnt/hot' },
  tieredHotPath: { DRIFT_STORAGE_BACKEND: 'tiered', DRIFT_S3_BUCKET: 'drift' },
  tieredHotSize: TIERED,
  tieredHotAge: TIERED,
  tieredBacklog: { ...TIERED, DRIFT_TIERED_MODE: 'write-back' },
  tieredUploads: TIERED,
  databaseBackend: { DRIFT_DATABASE_URL: POSTGRES_URL },
  databaseUrl: { DRIFT_DATABASE_BACKEND: 'postgres' },
  databaseReplicaUrls: POSTGRES,
  databaseListenUrl: POSTGRES,
  databaseConnections: POSTGRES,
  databaseWaiting: POSTGRES,
  databaseConnectTime: POSTGRES,
  databaseQueryTime: POSTGRES,
  databasePartitions: POSTGRES,
};
const PAIRED = new Set<KeyId>([
  'tlsCertificate',
  'tlsKey',
  'ghostbayEndpoint',
  'ghostbayBucket',
  'ghostbayAccessKey',
  'ghostbaySecretKey',
  's3Bucket',
  's3AccessKey',
  's3SecretKey',
  'databaseBackend',
  'databaseUrl',
  'tieredCold',
  'tieredHotPath',
]);
/** Keys with one possible value so far. */
const SINGLE = new Set<KeyId>(['authMode']);
/** Lifetimes have a least value of minutes; in hours, 11 fits. */
const IN_SECONDS: Partial<Record<KeyId, string>> = { accessToken: '660' };

function expectOnlyChange(id: KeyId, source: string, setup: Setup): void {
  const files = { people: '' };
  const beside = BESIDE[id] ?? {};
  // Half of a pair is no configuration: there the comparison is with neither.
  const before = read({ env: PAIRED.has(id) ? {} : beside, files });
  const changed = read({ ...setup, env: { ...beside, ...setup.env }, files });
  const { path } = KEYS[id];
  assert.equal(changed.sources.find(({ key }) => key === path)?.source, source);
  for (const { key, source: other } of changed.sources) {
    if (key !== path && !(other in beside))
      assert.equal(other, before.sources.find((entry) => entry.key === key)?.source, key);
  }
  const normal = (config: Config, cwd: string) =>
    JSON.stringify({
      ...config,
      secrets: [
        ...config.secrets.passwords,
        config.secrets.databaseUrl,
        config.secrets.databaseReplicaUrls,
        config.secrets.databaseListenUrl,
        config.secrets.s3,
        config.secrets.ghostbay,
      ],
    }).replaceAll(cwd, '');
  if (!SINGLE.has(id))
    assert.notEqual(normal(changed.config, changed.cwd), normal(before.config, before.cwd));
}

describe('KEYS', () => {
  for (const [id, key] of Object.entries(KEYS) as [KeyId, Key<unknown>][]) {
    const [text, toml] = SAMPLES[id];
    const scaledEnv = key.converted.flatMap(({ env }) => env ?? []);
    const scaledPaths = key.converted.flatMap(({ path }) => path ?? []);
    for (const name of [...key.env, ...scaledEnv]) {
      it(`${name}, set, changes ${key.path} alone`, () => {
        const value = scaledEnv.includes(name) ? text : (IN_SECONDS[id] ?? text);
        expectOnlyChange(id, name, { env: { [name]: value } });
      });
    }
    for (const name of [key.path, ...key.aliases, ...scaledPaths]) {
      it(`${name}, set, changes ${key.path} alone`, () => {
        const value = scaledPaths.includes(name) ? toml : (IN_SECONDS[id] ?? toml);
        expectOnlyChange(id, 'drift.toml:1', { toml: `${name} = ${value}` });
      });
    }
  }

  for (const [text, pick, expected] of EFFECTS) {
    it(`${text}, alone, has its effect`, () => assert.deepEqual(pick(read(setting(text)).config), expected));
  }
  for (const [text, reason] of REFUSALS) {
    it(`${text}, of a feature that is not here, is refused with the reason`, () => {
      const [problem] = problems(setting(text));
      assert.match(problem?.message ?? '', reason);
      assert.equal(problem?.where, text.includes(' = ') ? 'drift.toml:1' : text.slice(0, text.indexOf('=')));
    });
  }
  it('every environment name and key, over the table, stands once', () => {
    const keys = Object.values(KEYS) as Key<unknown>[];
    const paths = keys
      .flatMap(({ path, aliases, converted }) => [path, ...aliases, ...converted.map((name) => name.path)])
      .filter((name) => name !== null);
    const names = keys
      .flatMap(({ env, converted }) => [...env, ...converted.map((name) => name.env)])
      .filter((name) => name !== null);
    assert.equal(new Set(paths).size, paths.length);
    assert.equal(new Set(names).size, names.length);
  });
});
