import { availableParallelism, hostname } from 'node:os';
import type { ListenAddress } from './config.ts';
import { DATABASE_KEYS } from './database-keys.ts';
import { DAY, HOUR, type Key, KIB, key, MIB, MINUTE, TIB } from './key.ts';
import { logFilter, rustLogFilter } from './log-filter.ts';
import { STORAGE_KEYS } from './storage-keys.ts';
import { type Passwords, type UserScopes, userScopes, users } from './users.ts';
import {
  address,
  byteSize,
  choice,
  duration,
  flag,
  integer,
  list,
  origin,
  path,
  readBlock,
  readFlag,
  readRepositoryGlob,
  readTagGlob,
  scaled,
  text,
  type ValueType,
} from './value-types.ts';

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
  ...STORAGE_KEYS,
  ...DATABASE_KEYS,
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
