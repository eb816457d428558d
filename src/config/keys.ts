import { availableParallelism, hostname } from 'node:os';
import type { ListenAddress, StorageConfig, TieredConfig } from './config.ts';
import { logFilter, rustLogFilter } from './log-filter.ts';
import { type Passwords, type UserScopes, userScopes, users } from './users.ts';
import {
  address,
  bucketName,
  byteSize,
  choice,
  duration,
  flag,
  integer,
  keyPrefix,
  list,
  optionalText,
  origin,
  path,
  postgresUrl,
  postgresUrls,
  readBlock,
  readFlag,
  readRepositoryGlob,
  readTagGlob,
  scaled,
  secretText,
  storageClass,
  text,
  type ValueType,
} from './value-types.ts';

/** Another name of a key whose value is written otherwise there: its unit stands in its name. */
interface ConvertedName<T> {
  readonly path: string | null;
  readonly env: string | null;
  readonly type: ValueType<T>;
}

export interface Key<T> {
  /** The name in drift.toml. */
  readonly path: string;
  /** Other names in drift.toml. */
  readonly aliases: readonly string[];
  /** Names in the environment; an earlier one wins where `ranked`, else two that differ are a contradiction. */
  readonly env: readonly string[];
  readonly converted: readonly ConvertedName<T>[];
  /** Whether several environment names may be set at once, the first of them winning. */
  readonly ranked: boolean;
  readonly type: ValueType<T>;
  readonly fallback: () => T;
  /** The default in words, where it depends on the machine or on other keys. */
  readonly fallbackText: string | null;
  readonly doc: string;
  readonly secret: boolean;
  /** Whether SIGHUP takes a new value; else a restart does. */
  readonly reloads: boolean;
}

type KeySpec<T> = Pick<Key<T>, 'path' | 'env' | 'type' | 'fallback' | 'doc'> & Partial<Key<T>>;

function key<T>(spec: KeySpec<T>): Key<T> {
  return {
    aliases: [],
    converted: [],
    ranked: false,
    fallbackText: null,
    secret: false,
    reloads: false,
    ...spec,
  };
}

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const TIB = 1024 * GIB;
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** The longest that a token can be configured to live. */
export const ACCESS_TOKEN_SECONDS_MAX = DAY;
/** The workers that a machine gets by itself: beyond these, SQLite's one writer is what is waited for. */
const WORKERS_DEFAULT_MAX = 8;

/** Loopback and private networks: where a reverse proxy stands. */
const PRIVATE_BLOCKS = [
  '127.0.0.0/8',
  '::1/128',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  'fc00::/7',
  'fe80::/10',
];

const repositoryGlobs = list(
  'globs over repositories (`*` within a component, `**` across)',
  readRepositoryGlob,
);

/** `true` is every repository, `false` none, else globs. */
const anonymousPull: ValueType<readonly string[]> = {
  ...repositoryGlobs,
  describe: '`true`, `false` or a list of globs over repositories',
  fromText: (value) => fromFlag(readFlag(value)) ?? repositoryGlobs.fromText(value),
  fromToml: (raw) => fromFlag(typeof raw === 'boolean' ? raw : null) ?? repositoryGlobs.fromToml(raw),
};

function fromFlag(value: boolean | null): readonly string[] | null {
  if (value === null) return null;
  return value ? ['**'] : [];
}

function workersDefault(): number {
  return Math.max(1, Math.min(availableParallelism(), WORKERS_DEFAULT_MAX));
}

/** The one table of keys: parsing, the reference page and `drift config show` all follow from it. */
export const KEYS = {
  bind: key<ListenAddress>({
    path: 'server.bind_addr',
    env: ['DRIFT_BIND_ADDR'],
    type: address(),
    fallback: () => ({ host: '0.0.0.0', port: 5000 }),
    doc: 'Where the registry (`/v2/`) listens.',
  }),
  ui: key<ListenAddress>({
    path: 'server.ui_addr',
    env: ['DRIFT_UI_ADDR'],
    type: address(),
    fallback: () => ({ host: '0.0.0.0', port: 5001 }),
    doc: 'Where the console listens. The same as `server.bind_addr`: one listener serves both.',
  }),
  workers: key<number>({
    path: 'server.workers',
    env: ['DRIFT_WORKERS'],
    type: integer({ min: 1, max: 256 }),
    fallback: workersDefault,
    fallbackText: 'one per core, at most 8; 1 with `storage.backend = "memory"`',
    doc: 'HTTP processes.',
  }),
  nodeName: key<string>({
    path: 'server.node_name',
    env: ['DRIFT_NODE_NAME'],
    type: text(),
    fallback: () => hostname(),
    fallbackText: "the machine's host name",
    doc: 'What this node is called in `drift node list` and in its log.',
  }),
  externalUrl: key<string | null>({
    path: 'server.external_url',
    env: ['DRIFT_EXTERNAL_URL'],
    type: origin(),
    fallback: () => null,
    fallbackText: "the request's own host and scheme",
    doc: 'The address that clients use, when a proxy stands in front.',
  }),
  trustedProxies: key<readonly string[]>({
    path: 'server.trusted_proxies',
    env: ['DRIFT_TRUSTED_PROXIES'],
    type: list('address blocks', readBlock),
    fallback: () => PRIVATE_BLOCKS,
    doc: 'Whose `X-Forwarded-Proto` and `X-Forwarded-Host` are believed.',
  }),
  trustedClientProxies: key<readonly string[]>({
    path: 'server.trusted_client_proxies',
    env: ['DRIFT_TRUSTED_CLIENT_PROXIES'],
    type: list('address blocks', readBlock),
    fallback: () => [],
    doc: 'Whose `X-Forwarded-For` names the client (limits and logs follow it).',
  }),
  drain: key<number>({
    path: 'server.drain_time',
    env: ['DRIFT_DRAIN_TIME'],
    type: duration({ min: 0, max: HOUR }),
    fallback: () => 30,
    doc: 'Time that running transfers get after SIGTERM before they are cut off.',
  }),
  tlsCertificate: key<string | null>({
    path: 'tls.cert_file',
    env: ['DRIFT_TLS_CERT', 'DRIFT_TLS_CERT_FILE'],
    type: path<string | null>(),
    fallback: () => null,
    doc: 'PEM file with the certificate chain. With `tls.key_file`: both listeners speak HTTPS. What is in the file is reloaded; another path needs a restart.',
    reloads: true,
  }),
  tlsKey: key<string | null>({
    path: 'tls.key_file',
    env: ['DRIFT_TLS_KEY', 'DRIFT_TLS_KEY_FILE'],
    type: path<string | null>(),
    fallback: () => null,
    doc: 'PEM file with the private key. Reloaded as the certificate is.',
    reloads: true,
  }),
  authMode: key<'basic'>({
    path: 'auth.mode',
    env: ['DRIFT_AUTH', 'DRIFT_AUTH_MODE'],
    type: choice({
      words: ['basic'],
      refused: { oidc: 'sign-in by OpenID Connect ("oidc")', token: 'an external token issuer ("token")' },
    }),
    fallback: () => 'basic',
    doc: "Where people come from. `basic`: name and password; clients also get tokens of Drift's own token server.",
  }),
  anonymousPull: key<readonly string[]>({
    path: 'auth.anonymous_pull',
    env: ['DRIFT_ANONYMOUS_PULL'],
    type: anonymousPull,
    fallback: () => [],
    doc: 'Repositories that anyone may pull without credentials.',
  }),
  accessToken: key<number>({
    path: 'auth.access_token_lifetime',
    env: ['DRIFT_ACCESS_TOKEN_LIFETIME'],
    converted: [
      {
        path: 'auth.token_expiry_hours',
        env: 'DRIFT_AUTH_TOKEN_EXPIRY_HOURS',
        type: scaled(HOUR, { min: 1, max: ACCESS_TOKEN_SECONDS_MAX / HOUR }),
      },
    ],
    type: duration({ min: MINUTE, max: ACCESS_TOKEN_SECONDS_MAX }),
    fallback: () => 5 * MINUTE,
    doc: 'How long an access token is accepted. Rights are checked on each request, so it need not be short.',
  }),
  refreshToken: key<number>({
    path: 'auth.refresh_token_lifetime',
    env: ['DRIFT_REFRESH_TOKEN_LIFETIME'],
    type: duration({ min: HOUR, max: 365 * DAY }),
    fallback: () => 30 * DAY,
    doc: 'How long a refresh token gives new access tokens.',
  }),
  service: key<string>({
    path: 'auth.service',
    env: ['DRIFT_AUTH_SERVICE'],
    type: text(),
    fallback: () => 'drift-registry',
    doc: 'Name of this registry in the challenge (`service`) and in tokens (`aud`).',
  }),
  users: key<Passwords>({
    path: 'basic.users',
    aliases: ['auth.basic.users'],
    env: ['DRIFT_USERS'],
    type: users(),
    fallback: () => new Map(),
    fallbackText: 'none: the first start creates `admin` and prints its password once',
    doc: 'People, as `name:password`. Those without an entry in `basic.scopes` are administrators.',
    secret: true,
    reloads: true,
  }),
  htpasswd: key<string | null>({
    path: 'basic.htpasswd_file',
    aliases: ['auth.basic.htpasswd_file'],
    env: ['DRIFT_HTPASSWD_FILE'],
    type: path<string | null>(),
    fallback: () => null,
    doc: 'More people, from a file as `htpasswd -B` writes it (bcrypt). They may pull, push and delete everywhere but are no administrators, unless `basic.scopes` names them.',
    reloads: true,
  }),
  userScopes: key<UserScopes>({
    path: 'basic.scopes',
    aliases: ['auth.basic.scopes'],
    env: ['DRIFT_USER_SCOPES'],
    type: userScopes(),
    fallback: () => new Map(),
    fallbackText: 'none: every user is an administrator',
    doc: 'What a user may do at most: `repository:<glob>:pull,push,delete`, `registry:catalog:*`. In the environment `;` stands between users and a space between scopes.',
    reloads: true,
  }),
  backend: key<StorageConfig['backend']>({
    path: 'storage.backend',
    aliases: ['storage.type'],
    env: ['DRIFT_STORAGE_BACKEND', 'DRIFT_STORAGE_TYPE'],
    type: choice({
      words: ['fs', 's3', 'ghostbay', 'tiered', 'memory'],
      spellings: { filesystem: 'fs', minio: 's3' },
    }),
    fallback: () => 'fs',
    doc: 'Where blobs are kept. `s3` (or `minio`): a bucket, see `[s3]`. `ghostbay`: a bucket of a GhostBay server, see `[ghostbay]`. `tiered`: copies on this machine before a slower store, see `[tiered]`. `memory` loses them at the end and is for trying things out.',
  }),
  migrateFrom: key<StorageConfig['migrateFrom']>({
    path: 'storage.migrate_from',
    env: ['DRIFT_STORAGE_MIGRATE_FROM'],
    type: choice<'fs' | 's3' | 'none'>({
      words: ['none', 'fs', 's3'],
      spellings: { filesystem: 'fs', minio: 's3' },
    }),
    fallback: () => 'none',
    doc: 'While blobs move (`drift storage migrate`): the store that they come from. What is pushed goes to `storage.backend`, what is there is served from both.',
  }),
  root: key<string>({
    path: 'storage.fs_root',
    aliases: ['storage.path'],
    env: ['DRIFT_FS_ROOT', 'DRIFT_STORAGE_PATH'],
    type: path(),
    fallback: () => './data',
    doc: 'Directory of blobs, uploads and (by default) the database.',
  }),
  reserve: key<number>({
    path: 'storage.reserve',
    env: ['DRIFT_STORAGE_RESERVE'],
    type: byteSize({ min: 0, max: 1024 * TIB }),
    fallback: () => GIB,
    doc: 'New uploads are refused while less than this is free on the disk.',
  }),
  redirect: key<'auto' | 'on' | 'off'>({
    path: 'storage.redirect',
    env: ['DRIFT_STORAGE_REDIRECT'],
    type: choice({ words: ['auto', 'on', 'off'] }),
    fallback: () => 'auto',
    doc: 'Whether clients fetch blobs from the store itself (307 to an address signed for a short time). `auto`: when `s3.public_endpoint` is set or the endpoint has a public name or address, and never from HTTPS to HTTP. `off`: all bytes go through Drift.',
  }),
  redirectSize: key<number>({
    path: 'storage.redirect_min_size',
    env: ['DRIFT_STORAGE_REDIRECT_MIN_SIZE'],
    type: byteSize({ min: 64 * KIB, max: TIB }),
    fallback: () => MIB,
    doc: 'Smaller blobs are sent by Drift: a redirect costs the client another connection.',
  }),
  redirectLifetime: key<number>({
    path: 'storage.redirect_lifetime',
    env: ['DRIFT_STORAGE_REDIRECT_LIFETIME'],
    type: duration({ min: 10, max: HOUR }),
    fallback: () => 5 * MINUTE,
    doc: 'How long after a redirect a client may begin to fetch the blob.',
  }),
  s3Bucket: key<string | null>({
    path: 's3.bucket',
    aliases: ['storage.s3.bucket'],
    env: ['DRIFT_S3_BUCKET'],
    type: bucketName(),
    fallback: () => null,
    fallbackText: 'none: `storage.backend = "s3"` needs it',
    doc: 'The bucket that blobs are kept in. It must exist.',
  }),
  s3Prefix: key<string>({
    path: 's3.prefix',
    aliases: ['storage.s3.prefix'],
    env: ['DRIFT_S3_PREFIX'],
    type: keyPrefix(),
    fallback: () => '',
    fallbackText: 'none',
    doc: 'What the keys of all objects begin with, where the bucket holds other things too.',
  }),
  s3Endpoint: key<string | null>({
    path: 's3.endpoint',
    aliases: ['storage.s3.endpoint'],
    env: ['DRIFT_S3_ENDPOINT'],
    type: origin(),
    fallback: () => null,
    fallbackText: "Amazon's in `s3.region`",
    doc: 'Address of the service: MinIO, Ceph, any other that speaks S3.',
  }),
  s3PublicEndpoint: key<string | null>({
    path: 's3.public_endpoint',
    aliases: ['storage.s3.public_endpoint'],
    env: ['DRIFT_S3_PUBLIC_ENDPOINT'],
    type: origin(),
    fallback: () => null,
    fallbackText: '`s3.endpoint`',
    doc: 'Address at which clients find the service, where they are redirected to it.',
  }),
  s3Region: key<string>({
    path: 's3.region',
    aliases: ['storage.s3.region'],
    env: ['DRIFT_S3_REGION'],
    type: text(),
    fallback: () => 'us-east-1',
    doc: 'Region of the bucket.',
  }),
  s3PathStyle: key<boolean | null>({
    path: 's3.path_style',
    aliases: ['storage.s3.path_style'],
    env: ['DRIFT_S3_PATH_STYLE'],
    type: flag<boolean | null>(),
    fallback: () => null,
    fallbackText: '`true` with `s3.endpoint`, else `false`',
    doc: 'Whether the bucket stands in the path (`https://host/bucket/key`) or in the name of the host.',
  }),
  s3AccessKey: key<string | null>({
    path: 's3.access_key',
    aliases: ['storage.s3.access_key'],
    env: ['DRIFT_S3_ACCESS_KEY'],
    type: secretText(),
    fallback: () => null,
    fallbackText: 'what the tools of AWS use: environment, shared files, web identity, the instance',
    doc: 'Access key, with `s3.secret_key`.',
    secret: true,
  }),
  s3SecretKey: key<string | null>({
    path: 's3.secret_key',
    aliases: ['storage.s3.secret_key'],
    env: ['DRIFT_S3_SECRET_KEY'],
    type: secretText(),
    fallback: () => null,
    fallbackText: 'none',
    doc: 'Secret key, with `s3.access_key`.',
    secret: true,
  }),
  s3SessionToken: key<string | null>({
    path: 's3.session_token',
    aliases: ['storage.s3.session_token'],
    env: ['DRIFT_S3_SESSION_TOKEN'],
    type: secretText(),
    fallback: () => null,
    fallbackText: 'none',
    doc: 'Session token of temporary keys. They end with it: better let Drift find keys that renew themselves.',
    secret: true,
  }),
  s3StorageClass: key<string | null>({
    path: 's3.storage_class',
    aliases: ['storage.s3.storage_class'],
    env: ['DRIFT_S3_STORAGE_CLASS'],
    type: storageClass(),
    fallback: () => null,
    fallbackText: 'the default of the service',
    doc: 'Storage class of blobs (`STANDARD_IA`, `INTELLIGENT_TIERING`, …): one whose objects can be read at once.',
  }),
  s3Encryption: key<'none' | 'AES256' | 'aws:kms'>({
    path: 's3.encryption',
    aliases: ['storage.s3.encryption'],
    env: ['DRIFT_S3_ENCRYPTION'],
    type: choice({ words: ['none', 'AES256', 'aws:kms'] }),
    fallback: () => 'none',
    doc: 'Encryption that is asked for with each object. `none`: what the bucket does by itself.',
  }),
  s3KmsKey: key<string | null>({
    path: 's3.kms_key_id',
    aliases: ['storage.s3.kms_key_id'],
    env: ['DRIFT_S3_KMS_KEY_ID'],
    type: optionalText(),
    fallback: () => null,
    fallbackText: "the service's own key",
    doc: 'Key of `s3.encryption = "aws:kms"`.',
  }),
  s3CaFile: key<string | null>({
    path: 's3.ca_file',
    aliases: ['storage.s3.ca_file'],
    env: ['DRIFT_S3_CA_FILE'],
    type: path<string | null>(),
    fallback: () => null,
    fallbackText: 'the authorities that Node.js trusts',
    doc: 'PEM file of the authority that signed the certificate of the endpoint.',
  }),
  s3PartSize: key<number>({
    path: 's3.part_size',
    aliases: ['storage.s3.part_size'],
    env: ['DRIFT_S3_PART_SIZE'],
    type: byteSize({ min: 5 * MIB, max: GIB }),
    fallback: () => 16 * MIB,
    doc: 'Blobs up to this size are written by one request, larger ones in parts of it. Rounded up to 256 KiB.',
  }),
  s3UploadConcurrency: key<number>({
    path: 's3.upload_concurrency',
    aliases: ['storage.s3.upload_concurrency'],
    env: ['DRIFT_S3_UPLOAD_CONCURRENCY'],
    type: integer({ min: 1, max: 64 }),
    fallback: () => 4,
    doc: 'Parts of one upload that are on their way to the service at once.',
  }),
  s3UploadMemory: key<number>({
    path: 's3.upload_memory',
    aliases: ['storage.s3.upload_memory'],
    env: ['DRIFT_S3_UPLOAD_MEMORY'],
    type: byteSize({ min: 10 * MIB, max: TIB }),
    fallback: () => 256 * MIB,
    doc: 'Memory for parts of all uploads, per worker. Those that find none left wait, and their clients with them. At least twice `s3.part_size`.',
  }),
  s3Connections: key<number>({
    path: 's3.connections',
    aliases: ['storage.s3.connections'],
    env: ['DRIFT_S3_CONNECTIONS'],
    type: integer({ min: 2, max: 10_000 }),
    fallback: () => 256,
    doc: 'Connections to the service, per worker; downloads that are not redirected hold one each.',
  }),
  s3ConnectTime: key<number>({
    path: 's3.connect_time',
    aliases: ['storage.s3.connect_time'],
    env: ['DRIFT_S3_CONNECT_TIME'],
    type: duration({ min: 1, max: MINUTE }),
    fallback: () => 3,
    doc: 'How long a connection to the service may take.',
  }),
  s3RequestTime: key<number>({
    path: 's3.request_time',
    aliases: ['storage.s3.request_time'],
    env: ['DRIFT_S3_REQUEST_TIME'],
    type: duration({ min: 1, max: 10 * MINUTE }),
    fallback: () => 10,
    doc: 'How long the service may take to answer, and a body to bring its next bytes; a request that carries bytes gets a second more for each MiB.',
  }),
  s3Attempts: key<number>({
    path: 's3.attempts',
    aliases: ['storage.s3.attempts'],
    env: ['DRIFT_S3_ATTEMPTS'],
    type: integer({ min: 1, max: 10 }),
    fallback: () => 3,
    doc: 'How often a request is made at most while the service is in trouble, within 5 seconds.',
  }),
  tieredMode: key<TieredConfig['mode']>({
    path: 'tiered.mode',
    env: ['DRIFT_TIERED_MODE'],
    type: choice({ words: ['write-through', 'write-back'] }),
    fallback: () => 'write-through',
    doc: 'When a push is done. `write-through`: when the cold tier has the bytes. `write-back`: when this machine has them; they go to the cold tier afterwards. Until then no other node has them, so that it needs `database.backend = "sqlite"`.',
  }),
  tieredCold: key<TieredConfig['cold']>({
    path: 'tiered.cold',
    env: ['DRIFT_TIERED_COLD'],
    type: choice({ words: ['s3', 'fs'], spellings: { minio: 's3', filesystem: 'fs' } }),
    fallback: () => 's3',
    doc: 'The store behind the copies, which has everything. `s3`: a bucket (`[s3]`); `fs`: a slower file system (`storage.fs_root`).',
  }),
  tieredHotPath: key<string | null>({
    path: 'tiered.hot_path',
    env: ['DRIFT_TIERED_HOT_PATH'],
    type: path<string | null>(),
    fallback: () => null,
    fallbackText: 'none: `storage.backend = "tiered"` needs it',
    doc: 'Directory of the copies, and in write-back mode of what the cold tier does not have yet: a fast disk of this machine, that no other node shares.',
  }),
  tieredHotSize: key<number>({
    path: 'tiered.hot_size',
    env: ['DRIFT_TIERED_HOT_SIZE'],
    type: byteSize({ min: MIB, max: 1024 * TIB }),
    fallback: () => 50 * GIB,
    doc: 'What the copies may take; the least recently used go first. Of a blob larger than a quarter of it no copy is made.',
  }),
  tieredHotAge: key<number>({
    path: 'tiered.hot_age',
    env: ['DRIFT_TIERED_HOT_AGE'],
    type: duration({ min: MINUTE, max: 3650 * DAY }),
    fallback: () => 30 * DAY,
    doc: 'A copy that was not used for so long is removed.',
  }),
  tieredBacklog: key<number>({
    path: 'tiered.backlog_size',
    env: ['DRIFT_TIERED_BACKLOG_SIZE'],
    type: byteSize({ min: 0, max: 1024 * TIB }),
    fallback: () => 20 * GIB,
    doc: 'Write-back: what may wait for the cold tier, beside the copies. While there is no room, pushes wait for the cold tier as in write-through mode.',
  }),
  tieredUploads: key<number>({
    path: 'tiered.uploads',
    env: ['DRIFT_TIERED_UPLOADS'],
    type: integer({ min: 1, max: 64 }),
    fallback: () => 4,
    doc: 'Blobs that are sent to the cold tier at a time.',
  }),
  ghostbayEndpoint: key<string | null>({
    path: 'ghostbay.endpoint',
    aliases: ['storage.ghostbay.endpoint'],
    env: ['DRIFT_GHOSTBAY_ENDPOINT'],
    type: origin(),
    fallback: () => null,
    fallbackText: 'none: `storage.backend = "ghostbay"` needs it',
    doc: 'Address of the GhostBay server, such as `http://ghostbay:8080`.',
  }),
  ghostbayBucket: key<string | null>({
    path: 'ghostbay.bucket',
    aliases: ['storage.ghostbay.bucket'],
    env: ['DRIFT_GHOSTBAY_BUCKET'],
    type: bucketName(),
    fallback: () => null,
    fallbackText: 'none: `storage.backend = "ghostbay"` needs it',
    doc: 'The bucket that blobs are kept in. It must exist (`ghostbay bucket create`), and hold nothing else.',
  }),
  ghostbayAccessKey: key<string | null>({
    path: 'ghostbay.access_key',
    aliases: [
      'ghostbay.credentials.access_key',
      'storage.ghostbay.access_key',
      'storage.ghostbay.credentials.access_key',
    ],
    env: ['DRIFT_GHOSTBAY_ACCESS_KEY'],
    type: secretText(),
    fallback: () => null,
    fallbackText: 'none: `storage.backend = "ghostbay"` needs it',
    doc: 'Access key (`ghostbay admin key create`).',
    secret: true,
  }),
  ghostbaySecretKey: key<string | null>({
    path: 'ghostbay.secret_key',
    aliases: [
      'ghostbay.credentials.secret_key',
      'storage.ghostbay.secret_key',
      'storage.ghostbay.credentials.secret_key',
    ],
    env: ['DRIFT_GHOSTBAY_SECRET_KEY'],
    type: secretText(),
    fallback: () => null,
    fallbackText: 'none: `storage.backend = "ghostbay"` needs it',
    doc: 'Secret key. Requests are signed with it; GhostBay 0.1.0 does not look at signatures.',
    secret: true,
  }),
  ghostbaySegment: key<number>({
    path: 'ghostbay.segment_size',
    aliases: ['storage.ghostbay.segment_size'],
    env: ['DRIFT_GHOSTBAY_SEGMENT_SIZE'],
    type: byteSize({ min: MIB, max: GIB }),
    fallback: () => 16 * MIB,
    doc: 'Size of the objects that a blob is kept in, 100,000 of them at most. GhostBay holds each whole in memory while it is written, and a range is read from the beginning of its object.',
  }),
  ghostbayUploadMemory: key<number>({
    path: 'ghostbay.upload_memory',
    aliases: ['storage.ghostbay.upload_memory'],
    env: ['DRIFT_GHOSTBAY_UPLOAD_MEMORY'],
    type: byteSize({ min: 10 * MIB, max: TIB }),
    fallback: () => 256 * MIB,
    doc: 'Memory for bytes of all uploads on their way, per worker. When it is used up objects become smaller, then uploads wait, and their clients with them. At least twice `ghostbay.segment_size`.',
  }),
  databaseBackend: key<'sqlite' | 'postgres'>({
    path: 'database.backend',
    env: ['DRIFT_DATABASE_BACKEND'],
    type: choice({
      words: ['sqlite', 'postgres'],
      spellings: { postgresql: 'postgres' },
      refused: { zqlite: 'zqlite' },
    }),
    fallback: () => 'sqlite',
    doc: 'Where names, tags and rights are kept. `sqlite`: a file on this machine; `postgres`: a server (15 or newer) that any number of nodes share.',
  }),
  databaseUrl: key<string | null>({
    path: 'database.url',
    aliases: ['database.postgres_url'],
    env: ['DRIFT_DATABASE_URL', 'DRIFT_DATABASE_POSTGRES_URL'],
    type: postgresUrl(),
    fallback: () => null,
    fallbackText: 'none: `database.backend = "postgres"` needs it',
    doc: 'The PostgreSQL database: `postgres://user:password@host:5432/drift`, with `?sslmode=verify-full&sslrootcert=…` for TLS. A pooler in transaction mode (PgBouncer) may stand before it.',
    secret: true,
  }),
  databaseReplicaUrls: key<readonly string[]>({
    path: 'database.replica_urls',
    env: ['DRIFT_DATABASE_REPLICA_URLS'],
    type: postgresUrls(),
    fallback: () => [],
    doc: 'Streaming replicas of the PostgreSQL database, each the address of one server. They answer lists (tags, catalog, referrers) once they have replayed all that was committed before; else the primary does.',
    secret: true,
  }),
  databaseListenUrl: key<string | null>({
    path: 'database.listen_url',
    env: ['DRIFT_DATABASE_LISTEN_URL'],
    type: postgresUrl(),
    fallback: () => null,
    fallbackText: '`database.url`',
    doc: 'The same database without a pooler between. Processes listen there for news of each other (`LISTEN`), which a pooler in transaction mode does not pass on. Without it they poll, and react up to a second later.',
    secret: true,
  }),
  databaseConnections: key<number>({
    path: 'database.connections',
    env: ['DRIFT_DATABASE_CONNECTIONS'],
    type: integer({ min: 2, max: 1_000 }),
    fallback: () => 10,
    doc: 'Connections to PostgreSQL, per process (workers, jobs process, primary); they are opened as they are needed.',
  }),
  databaseWaiting: key<number>({
    path: 'database.waiting',
    env: ['DRIFT_DATABASE_WAITING'],
    type: integer({ min: 1, max: 100_000 }),
    fallback: () => 1_000,
    doc: 'Requests that may wait for a connection to PostgreSQL, per process; more of them are answered 503.',
  }),
  databaseConnectTime: key<number>({
    path: 'database.connect_time',
    env: ['DRIFT_DATABASE_CONNECT_TIME'],
    type: duration({ min: 1, max: MINUTE }),
    fallback: () => 3,
    doc: 'How long a connection to PostgreSQL may take, and a request wait for one.',
  }),
  databaseQueryTime: key<number>({
    path: 'database.query_time',
    env: ['DRIFT_DATABASE_QUERY_TIME'],
    type: duration({ min: 1, max: HOUR }),
    fallback: () => 10,
    doc: 'How long one statement may take in PostgreSQL before its request is answered 503.',
  }),
  databasePartitions: key<number>({
    path: 'database.partitions',
    env: ['DRIFT_DATABASE_PARTITIONS'],
    type: integer({ min: 1, max: 1_024 }),
    fallback: () => 16,
    doc: 'Parts into which PostgreSQL divides each of the large tables. Fixed when the schema is made.',
  }),
  ledger: key<string | null>({
    path: 'database.sqlite_path',
    env: ['DRIFT_DATABASE_SQLITE_PATH'],
    type: path<string | null>(),
    fallback: () => null,
    fallbackText: '`drift.db` in `storage.fs_root`',
    doc: 'The database file.',
  }),
  immutableTags: key<readonly string[]>({
    path: 'retention.immutable_tags',
    aliases: ['registry.immutable_tags'],
    env: ['DRIFT_IMMUTABLE_TAGS'],
    type: list('globs over tags', readTagGlob),
    fallback: () => [],
    doc: 'Tags that, once set, neither move nor go.',
  }),
  minAge: key<number>({
    path: 'retention.min_age_days',
    aliases: ['registry.min_age_days'],
    env: ['DRIFT_MIN_AGE_DAYS'],
    type: scaled(DAY, { min: 0, max: 3650 }),
    fallback: () => 7 * DAY,
    doc: 'Days that garbage is kept before it is removed.',
  }),
  sparseIndexes: key<boolean>({
    path: 'registry.sparse_indexes',
    env: ['DRIFT_SPARSE_INDEXES'],
    type: flag(),
    fallback: () => false,
    doc: 'Whether an index may name children that are not here.',
  }),
  deletes: key<boolean>({
    path: 'registry.deletes',
    env: ['DRIFT_DELETES'],
    type: flag(),
    fallback: () => true,
    doc: 'Whether tags, manifests and blobs may be deleted through `/v2/`.',
  }),
  manifestSize: key<number>({
    path: 'limits.manifest_size',
    env: ['DRIFT_LIMITS_MANIFEST_SIZE'],
    type: byteSize({ min: 64 * KIB, max: 64 * MIB }),
    fallback: () => 4 * MIB,
    doc: 'Largest manifest. Several clients refuse to read more than the default.',
  }),
  blobSize: key<number>({
    path: 'limits.blob_size',
    env: ['DRIFT_LIMITS_BLOB_SIZE'],
    converted: [
      {
        path: 'registry.max_upload_size_mb',
        env: 'DRIFT_MAX_UPLOAD_SIZE_MB',
        type: scaled(MIB, { min: 1, max: 1_073_741_824 }),
      },
    ],
    type: byteSize({ min: MIB, max: 1024 * TIB }),
    fallback: () => 5 * TIB,
    doc: 'Largest blob.',
  }),
  uploadIdle: key<number>({
    path: 'limits.upload_idle',
    env: ['DRIFT_LIMITS_UPLOAD_IDLE'],
    type: duration({ min: MINUTE, max: 30 * DAY }),
    fallback: () => DAY,
    doc: 'An upload that received nothing for this long is discarded.',
  }),
  uploadsOpen: key<number>({
    path: 'limits.uploads_open',
    env: ['DRIFT_LIMITS_UPLOADS_OPEN'],
    type: integer({ min: 1, max: 1_000_000 }),
    fallback: () => 10_000,
    doc: 'Uploads begun and not finished, over all repositories; one user may hold nine tenths of them.',
  }),
  bodyIdle: key<number>({
    path: 'limits.body_idle',
    env: ['DRIFT_LIMITS_BODY_IDLE'],
    type: duration({ min: 1, max: HOUR }),
    fallback: () => MINUTE,
    doc: 'A body that stands still for this long ends its connection.',
  }),
  connectionsPerAddress: key<number>({
    path: 'limits.connections_per_address',
    env: ['DRIFT_LIMITS_CONNECTIONS_PER_ADDRESS'],
    type: integer({ min: 1, max: 1_000_000 }),
    fallback: () => 1_000,
    doc: 'Open connections from one client address, per worker. Loopback and `server.trusted_client_proxies` are exempt.',
  }),
  connections: key<number>({
    path: 'limits.connections',
    aliases: ['server.max_connections'],
    env: ['DRIFT_LIMITS_CONNECTIONS', 'DRIFT_MAX_CONNECTIONS'],
    type: integer({ min: 1, max: 1_000_000 }),
    fallback: () => 10_000,
    doc: 'Open connections, per worker.',
  }),
  ranges: key<number>({
    path: 'limits.ranges',
    env: ['DRIFT_LIMITS_RANGES'],
    type: integer({ min: 1, max: 1_024 }),
    fallback: () => 128,
    doc: 'Ranges in one `Range` header; more of them are refused (400).',
  }),
  pageEntries: key<number>({
    path: 'limits.page_entries',
    env: ['DRIFT_LIMITS_PAGE_ENTRIES'],
    type: integer({ min: 1, max: 100_000 }),
    fallback: () => 1_000,
    doc: 'Entries in one page of the catalog, and the most that `n` gets in any list. Tags and referrers asked for without `n` come in pages of 3.5 MiB.',
  }),
  tagParameters: key<number>({
    path: 'limits.tag_parameters',
    env: ['DRIFT_LIMITS_TAG_PARAMETERS'],
    type: integer({ min: 1, max: 1_000 }),
    fallback: () => 32,
    doc: '`tag=` parameters in one manifest push.',
  }),
  descriptors: key<number>({
    path: 'limits.descriptors',
    env: ['DRIFT_LIMITS_DESCRIPTORS'],
    type: integer({ min: 1, max: 40_000 }),
    fallback: () => 10_000,
    doc: 'Descriptors in one manifest.',
  }),
  passwordChecks: key<number>({
    path: 'limits.password_checks',
    env: ['DRIFT_LIMITS_PASSWORD_CHECKS'],
    type: integer({ min: 1, max: 64 }),
    fallback: () => 4,
    doc: 'Password hashes computed at once, per worker.',
  }),
  memoryCache: key<number>({
    path: 'limits.memory_cache',
    env: ['DRIFT_LIMITS_MEMORY_CACHE'],
    type: byteSize({ min: 0, max: TIB }),
    fallback: () => 64 * MIB,
    doc: 'Memory for small blobs and manifests by digest, per worker.',
  }),
  logFilter: key<string>({
    path: 'logging.level',
    aliases: ['logging.filter'],
    env: ['DRIFT_LOG'],
    converted: [{ path: null, env: 'RUST_LOG', type: rustLogFilter() }],
    ranked: true,
    type: logFilter(),
    fallback: () => 'info',
    doc: 'What is logged: a level, then levels of subsystems: `info,access=debug`. `RUST_LOG` takes targets too (`drift=debug,info`); those of other programs are left out.',
    reloads: true,
  }),
  logFormat: key<'json' | 'pretty' | 'auto'>({
    path: 'logging.format',
    env: ['DRIFT_LOG_FORMAT'],
    type: choice({ words: ['auto', 'json', 'pretty'] }),
    fallback: () => 'auto',
    doc: '`auto`: pretty on a terminal, JSON elsewhere.',
  }),
} as const;

export type KeyId = keyof typeof KEYS;
export type KeyValues = { [Id in KeyId]: (typeof KEYS)[Id] extends Key<infer T> ? T : never };

/** Names the file; no key itself. */
export const CONFIG_FILE_ENV = 'DRIFT_CONFIG';
