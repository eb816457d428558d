import { existsSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { isBcrypt } from '../std/bcrypt-hash.ts';
import { findContradictions } from './check.ts';
import type { Config } from './config.ts';
import { ConfigError } from './config-error.ts';
import type { Key } from './key.ts';
import { CONFIG_FILE_ENV, KEYS, type KeyId, type KeyValues } from './keys.ts';
import { locateKeys } from './locate-keys.ts';
import { foreignTargets } from './log-filter.ts';
import { type Collector, collectEnv, collectToml, readFailure, readText, takeFlag } from './settings.ts';
import { isArgon2, parseHtpasswd } from './users.ts';
import { weakness } from './weak-passwords.ts';

export interface ConfigInput {
  readonly flags: { readonly config?: string; readonly bind?: string; readonly uiBind?: string };
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
}

/** Where one key's value came from, and the value as `config show` prints it: without secrets. */
interface Source {
  readonly key: string;
  readonly shown: string;
  readonly source: string;
  readonly reloads: boolean;
}

export interface ResolvedConfig {
  readonly config: Config;
  readonly sources: readonly Source[];
  /** Full sentences for the log; they name users, never passwords. */
  readonly warnings: readonly string[];
  /** The file that was read; null: there is none. */
  readonly file: string | null;
}

const DEFAULT_FILE = 'drift.toml';

/** Flags over environment over file over defaults. Throws `ConfigError` with everything that is wrong. */
export function readConfig(input: ConfigInput): ResolvedConfig {
  const into: Collector = { cwd: input.cwd, settings: new Map(), problems: [], broken: new Set() };
  const file = readFile(into, input);
  collectEnv(into, input.env);
  takeFlag(into, 'bind', { name: '--bind', value: input.flags.bind });
  takeFlag(into, 'ui', { name: '--ui-bind', value: input.flags.uiBind });
  const values = resolveValues(into);
  const htpasswd = readHtpasswd(into, values);
  into.problems.push(
    ...findContradictions({ values, htpasswd, settings: into.settings, broken: into.broken }),
  );
  if (into.problems.length > 0) throw new ConfigError(into.problems);
  const warnings = findWarnings(into, { values, env: input.env });
  return { config: buildConfig(values, htpasswd), sources: listSources(into, values), warnings, file };
}

function readFile(into: Collector, { flags, env, cwd }: ConfigInput): string | null {
  const fromEnv = env[CONFIG_FILE_ENV] === '' ? undefined : env[CONFIG_FILE_ENV];
  const named = flags.config ?? fromEnv;
  if (named === undefined && !existsSync(join(cwd, DEFAULT_FILE))) return null;
  const file = resolve(cwd, named ?? DEFAULT_FILE);
  const shown = relative(cwd, file).startsWith('..') ? file : relative(cwd, file);
  const where = flags.config !== undefined ? '--config' : fromEnv !== undefined ? CONFIG_FILE_ENV : shown;
  let toml: string;
  try {
    toml = readText(file);
  } catch (error) {
    into.problems.push({ where, message: `cannot read ${file}: ${readFailure(error)}`, suggestion: null });
    return file;
  }
  try {
    const tree = parse(toml);
    const lines = locateKeys(toml);
    collectToml(into, tree, (path) => `${shown}:${lineOf(lines, path)}`);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The rest of its message quotes the line, which may hold a password.
    const [reason = ''] = error.message.replace('Invalid TOML document: ', '').split('\n');
    into.problems.push({
      where: `${shown}:${error.line}`,
      message: `not valid TOML: ${reason}`,
      suggestion: null,
    });
  }
  return file;
}

function lineOf(lines: ReadonlyMap<string, number>, path: string): number {
  const parts = path.split('.');
  for (let length = parts.length; length > 0; length--) {
    const line = lines.get(parts.slice(0, length).join('.'));
    if (line !== undefined) return line;
  }
  return 1;
}

/** Memory for parts is given in blocks of this size. */
const S3_BLOCK_BYTES = 256 * 1024;

function resolveValues({ settings, cwd, broken }: Collector): KeyValues {
  const entries = (Object.entries(KEYS) as [KeyId, Key<unknown>][]).map(([id, key]) => {
    const value = settings.has(id) ? settings.get(id)?.value : key.fallback();
    return [id, key.type.isPath && typeof value === 'string' ? resolve(cwd, value) : value] as const;
  });
  const values = Object.fromEntries(entries) as unknown as KeyValues;
  // Memory is per process: a second worker would not see what the first one stored.
  const alone = values.backend === 'memory' && !settings.has('workers') && !broken.has('workers');
  return {
    ...values,
    workers: alone ? 1 : values.workers,
    ledger: values.ledger ?? join(values.root, 'drift.db'),
  };
}

/** The names in the htpasswd file; its hashes are read again where they are checked. */
function readHtpasswd(into: Collector, values: KeyValues): ReadonlySet<string> {
  if (values.htpasswd === null) return new Set();
  const source = into.settings.get('htpasswd')?.source ?? KEYS.htpasswd.path;
  try {
    const { hashes, problems } = parseHtpasswd(readText(values.htpasswd));
    for (const { line, message } of problems) {
      into.problems.push({ where: `${values.htpasswd}:${line}`, message, suggestion: null });
    }
    return new Set(hashes.keys());
  } catch (error) {
    const message = `cannot read the htpasswd file ${values.htpasswd}: ${readFailure(error)}`;
    into.problems.push({ where: source, message, suggestion: null });
    into.broken.add('htpasswd');
    return new Set();
  }
}

function findWarnings(
  { settings }: Collector,
  from: { values: KeyValues; env: NodeJS.ProcessEnv },
): string[] {
  const { values, env } = from;
  const warnings: string[] = [];
  for (const [name, secret] of values.users) {
    const reason = isArgon2(secret) || isBcrypt(secret) ? null : weakness(name, secret);
    if (reason !== null)
      warnings.push(
        `The password of user "${name}" ${reason}. Change it before others can reach this registry.`,
      );
  }
  if (values.backend === 'memory')
    warnings.push('storage.backend is "memory": everything that is pushed is lost when Drift ends.');
  const foreign =
    settings.get('logFilter')?.source === 'RUST_LOG' ? foreignTargets(env['RUST_LOG'] ?? '') : [];
  if (foreign.length > 0)
    warnings.push(`RUST_LOG names targets that are not Drift's, left out here: ${foreign.join(', ')}.`);
  return warnings;
}

function listSources({ settings }: Collector, values: KeyValues): Source[] {
  return (Object.entries(KEYS) as [KeyId, Key<unknown>][]).map(([id, key]) => ({
    key: key.path,
    shown: key.type.show(values[id]),
    source: settings.get(id)?.source ?? 'default',
    reloads: key.reloads,
  }));
}

function buildConfig(values: KeyValues, htpasswd: ReadonlySet<string>): Config {
  // People of the htpasswd file are read where they are checked; here are those that this configuration gives scopes.
  const names = [...values.users.keys(), ...[...htpasswd].filter((name) => values.userScopes.has(name))];
  const { tlsCertificate, tlsKey } = values;
  return {
    server: {
      bind: values.bind,
      ui: values.ui,
      workers: values.workers,
      nodeName: values.nodeName,
      externalUrl: values.externalUrl,
      trustedProxies: values.trustedProxies,
      trustedClientProxies: values.trustedClientProxies,
      drainSecondsMax: values.drain,
    },
    tls:
      tlsCertificate !== null && tlsKey !== null
        ? { certificateFile: tlsCertificate, keyFile: tlsKey }
        : null,
    storage: {
      backend: values.backend,
      migrateFrom: values.migrateFrom,
      root: values.root,
      reserveBytes: values.reserve,
      redirect: {
        mode: values.redirect,
        bytesMin: values.redirectSize,
        seconds: values.redirectLifetime,
      },
      s3: buildS3(values),
      ghostbay: buildGhostbay(values),
      tiered: buildTiered(values),
    },
    database: buildDatabase(values),
    auth: {
      mode: values.authMode,
      anonymousPull: values.anonymousPull,
      users: names.map((name) => ({ name, scopes: values.userScopes.get(name) ?? null })),
      htpasswdFile: values.htpasswd,
      accessTokenSeconds: values.accessToken,
      refreshTokenSeconds: values.refreshToken,
      service: values.service,
    },
    retention: { immutableTags: values.immutableTags, minAgeSeconds: values.minAge },
    registry: { sparseIndexes: values.sparseIndexes, deletes: values.deletes },
    limits: buildLimits(values),
    logging: { filter: values.logFilter, format: values.logFormat },
    secrets: {
      passwords: values.users,
      databaseUrl: values.databaseUrl,
      databaseReplicaUrls: values.databaseReplicaUrls,
      databaseListenUrl: values.databaseListenUrl,
      s3: s3Credentials(values),
      ghostbay: ghostbayCredentials(values),
    },
  };
}

function buildS3(values: KeyValues): Config['storage']['s3'] {
  if (values.s3Bucket === null) return null;
  return {
    endpoint: values.s3Endpoint,
    publicEndpoint: values.s3PublicEndpoint,
    region: values.s3Region,
    bucket: values.s3Bucket,
    prefix: values.s3Prefix,
    pathStyle: values.s3PathStyle ?? values.s3Endpoint !== null,
    storageClass: values.s3StorageClass,
    encryption: values.s3Encryption === 'none' ? null : values.s3Encryption,
    kmsKeyId: values.s3KmsKey,
    caFile: values.s3CaFile,
    partBytes: Math.ceil(values.s3PartSize / S3_BLOCK_BYTES) * S3_BLOCK_BYTES,
    uploadConcurrency: values.s3UploadConcurrency,
    uploadMemoryBytesMax: values.s3UploadMemory,
    connectionsMax: values.s3Connections,
    connectSecondsMax: values.s3ConnectTime,
    requestSecondsMax: values.s3RequestTime,
    attempts: values.s3Attempts,
  };
}

function s3Credentials(values: KeyValues): Config['secrets']['s3'] {
  const { s3AccessKey, s3SecretKey, s3SessionToken } = values;
  if (s3AccessKey === null || s3SecretKey === null) return null;
  return { accessKeyId: s3AccessKey, secretAccessKey: s3SecretKey, sessionToken: s3SessionToken };
}

function buildTiered(values: KeyValues): Config['storage']['tiered'] {
  if (values.backend !== 'tiered' || values.tieredHotPath === null) return null;
  return {
    mode: values.tieredMode,
    cold: values.tieredCold,
    hotRoot: values.tieredHotPath,
    hotBytesMax: values.tieredHotSize,
    hotAgeSecondsMax: values.tieredHotAge,
    backlogBytesMax: values.tieredBacklog,
    sendsMax: values.tieredUploads,
  };
}

function buildGhostbay(values: KeyValues): Config['storage']['ghostbay'] {
  const { ghostbayEndpoint: endpoint, ghostbayBucket: bucket } = values;
  if (endpoint === null || bucket === null) return null;
  const { ghostbaySegment: segmentBytes, ghostbayUploadMemory: uploadMemoryBytesMax } = values;
  return { endpoint, bucket, segmentBytes, uploadMemoryBytesMax };
}

function ghostbayCredentials(values: KeyValues): Config['secrets']['ghostbay'] {
  const { ghostbayAccessKey: accessKey, ghostbaySecretKey: secretKey } = values;
  if (accessKey === null || secretKey === null) return null;
  return { accessKey, secretKey };
}

function buildDatabase(values: KeyValues): Config['database'] {
  if (values.databaseBackend === 'sqlite') {
    return { backend: 'sqlite', file: values.ledger ?? join(values.root, 'drift.db') };
  }
  return {
    backend: 'postgres',
    connectionsMax: values.databaseConnections,
    waitingMax: values.databaseWaiting,
    connectSecondsMax: values.databaseConnectTime,
    querySecondsMax: values.databaseQueryTime,
    partitions: values.databasePartitions,
  };
}

function buildLimits(values: KeyValues): Config['limits'] {
  return {
    manifestBytesMax: values.manifestSize,
    blobBytesMax: values.blobSize,
    uploadIdleSecondsMax: values.uploadIdle,
    uploadsOpenMax: values.uploadsOpen,
    bodyIdleSecondsMax: values.bodyIdle,
    connectionsPerAddressMax: values.connectionsPerAddress,
    connectionsMax: values.connections,
    rangesMax: values.ranges,
    pageEntriesMax: values.pageEntries,
    tagParametersMax: values.tagParameters,
    descriptorsMax: values.descriptors,
    passwordChecksMax: values.passwordChecks,
    memoryCacheBytesMax: values.memoryCache,
  };
}
