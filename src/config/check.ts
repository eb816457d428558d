import { nearest } from '../std/edit-distance.ts';
import type { ListenAddress } from './config.ts';
import type { Problem } from './config-error.ts';
import { KEYS, type KeyId, type KeyValues } from './keys.ts';
import type { Settings } from './settings.ts';
import { showAddress } from './value-types.ts';

interface Checked {
  readonly values: KeyValues;
  readonly htpasswd: ReadonlySet<string>;
  readonly settings: Settings;
  /** Keys that hold no value to compare: their own problem is told already. */
  readonly broken: ReadonlySet<KeyId>;
}

/** Values that are right by themselves and wrong together. */
export function findContradictions(checked: Checked): Problem[] {
  const rules: readonly [readonly KeyId[], (checked: Checked) => Problem[]][] = [
    [['tlsCertificate', 'tlsKey'], checkTls],
    [['backend', 'workers'], checkWorkers],
    [['backend', 'tieredHotPath', 'tieredMode', 'databaseBackend'], checkTiers],
    [['databaseBackend', 'databaseUrl'], checkDatabase],
    [['backend', 'tieredCold', 'migrateFrom'], checkMigration],
    [['backend', 'tieredCold', 'migrateFrom', 's3Bucket', 's3AccessKey', 's3SecretKey'], checkS3],
    [['backend', 'tieredCold', 'migrateFrom', 's3PartSize', 's3UploadMemory'], checkS3Memory],
    [['backend', 'redirect', 'redirectSize', 'redirectLifetime', 's3PublicEndpoint'], checkRedirect],
    [['backend', 'migrateFrom', ...GHOSTBAY_NEEDED], checkGhostbay],
    [['backend', 'migrateFrom', 'ghostbaySegment', 'ghostbayUploadMemory'], checkGhostbayMemory],
    [['users', 'htpasswd'], checkNames],
    [['users', 'htpasswd', 'userScopes'], checkScopes],
    [['bind', 'ui'], checkAddresses],
    [['accessToken', 'refreshToken'], checkTokens],
    [['connections', 'connectionsPerAddress'], checkConnections],
  ];
  return rules.flatMap(([ids, rule]) => (ids.some((id) => checked.broken.has(id)) ? [] : rule(checked)));
}

function checkTls({ values, settings }: Checked): Problem[] {
  if ((values.tlsCertificate === null) === (values.tlsKey === null)) return [];
  const [set, missing]: [KeyId, KeyId] =
    values.tlsKey === null ? ['tlsCertificate', 'tlsKey'] : ['tlsKey', 'tlsCertificate'];
  return [
    problem(
      settings,
      set,
      `${KEYS[set].path} is set without ${KEYS[missing].path}`,
      `set ${KEYS[missing].path} too`,
    ),
  ];
}

function checkWorkers({ values, settings }: Checked): Problem[] {
  if (values.backend !== 'memory' || values.workers === 1) return [];
  const message = `storage.backend "memory" is seen by one process only, but server.workers is ${values.workers}`;
  return [problem(settings, 'workers', message, 'use server.workers = 1 or storage.backend = "fs"')];
}

const TIERED_KEYS = keysBelow('tiered.');

function checkTiers({ values, settings }: Checked): Problem[] {
  if (values.backend !== 'tiered') {
    return withoutEffect(settings, TIERED_KEYS, {
      because: `storage.backend is "${values.backend}"`,
      suggestion: 'set storage.backend = "tiered"',
    });
  }
  const problems: Problem[] = [];
  if (values.tieredHotPath === null) {
    const message = 'storage.backend is "tiered", but tiered.hot_path is not set';
    problems.push(
      problem(settings, 'backend', message, 'set it to a directory on a fast disk of this machine'),
    );
  }
  if (values.tieredMode === 'write-through' && settings.has('tieredBacklog')) {
    const message = 'tiered.backlog_size is set, but tiered.mode is "write-through"';
    problems.push(problem(settings, 'tieredBacklog', message, 'set tiered.mode = "write-back"'));
  }
  if (values.tieredMode === 'write-back' && values.databaseBackend === 'postgres') {
    const message =
      'tiered.mode "write-back" is for one node: others could not read what waits on this one, and database.backend is "postgres"';
    problems.push(problem(settings, 'tieredMode', message, 'use tiered.mode = "write-through"'));
  }
  return problems;
}

/** Without PostgreSQL they would say nothing. */
const POSTGRES_KEYS = [
  'databaseUrl',
  'databaseReplicaUrls',
  'databaseListenUrl',
  'databaseConnections',
  'databaseWaiting',
  'databaseConnectTime',
  'databaseQueryTime',
  'databasePartitions',
] as const satisfies readonly KeyId[];

function checkDatabase({ values, settings }: Checked): Problem[] {
  const isPostgres = values.databaseBackend === 'postgres';
  if (isPostgres && values.databaseUrl === null) {
    const message = 'database.backend is "postgres", but database.url is not set';
    return [problem(settings, 'databaseBackend', message, 'set DRIFT_DATABASE_URL')];
  }
  if (isPostgres) {
    return withoutEffect(settings, ['ledger'], {
      because: 'database.backend is "postgres"',
      suggestion: 'remove it',
    });
  }
  return withoutEffect(settings, POSTGRES_KEYS, {
    because: 'database.backend is "sqlite"',
    suggestion: 'set database.backend = "postgres"',
  });
}

const S3_KEYS = keysBelow('s3.');

function needsBucket(values: KeyValues): boolean {
  return keptIn(values) === 's3' || values.migrateFrom === 's3';
}

/** Where everything is in the end. */
function keptIn({ backend, tieredCold }: KeyValues): string {
  return backend === 'tiered' ? tieredCold : backend;
}

function checkMigration({ values, settings }: Checked): Problem[] {
  if (values.migrateFrom === 'none') return [];
  const kept = keptIn(values);
  if (kept === 'memory') {
    const message = `storage.migrate_from is "${values.migrateFrom}", but storage.backend "memory" keeps nothing`;
    return [problem(settings, 'backend', message, 'name the store that blobs move to')];
  }
  if (kept !== values.migrateFrom) return [];
  const message = `storage.migrate_from is "${values.migrateFrom}", and storage.backend keeps blobs in "${kept}"`;
  const suggestion = 'blobs move between "fs", "s3" and "ghostbay": name another one';
  return [problem(settings, 'migrateFrom', message, suggestion)];
}

function checkS3({ values, settings }: Checked): Problem[] {
  if (!needsBucket(values)) {
    return withoutEffect(settings, S3_KEYS, {
      because: `storage.backend is "${values.backend}"`,
      suggestion: 'set storage.backend = "s3", or storage.migrate_from while blobs move from there',
    });
  }
  const problems: Problem[] = [];
  if (values.s3Bucket === null) {
    const asking =
      values.migrateFrom === 's3' ? 'migrateFrom' : values.backend === 's3' ? 'backend' : 'tieredCold';
    const message = `${KEYS[asking].path} is "s3", but s3.bucket is not set`;
    problems.push(problem(settings, asking, message, 'set DRIFT_S3_BUCKET'));
  }
  const [set, missing]: [KeyId, KeyId] =
    values.s3SecretKey === null ? ['s3AccessKey', 's3SecretKey'] : ['s3SecretKey', 's3AccessKey'];
  if ((values.s3AccessKey === null) !== (values.s3SecretKey === null)) {
    const message = `${KEYS[set].path} is set without ${KEYS[missing].path}`;
    problems.push(problem(settings, set, message, `set ${KEYS[missing].path} too`));
  }
  if (values.s3SessionToken !== null && values.s3AccessKey === null) {
    const message = 's3.session_token is set without s3.access_key';
    problems.push(problem(settings, 's3SessionToken', message, 'set s3.access_key and s3.secret_key too'));
  }
  if (values.s3KmsKey !== null && values.s3Encryption !== 'aws:kms') {
    const message = `s3.kms_key_id is set, but s3.encryption is "${values.s3Encryption}"`;
    problems.push(problem(settings, 's3KmsKey', message, 'set s3.encryption = "aws:kms"'));
  }
  return problems;
}

const REDIRECT_KEYS = [
  'redirect',
  'redirectSize',
  'redirectLifetime',
  's3PublicEndpoint',
] as const satisfies readonly KeyId[];

function checkRedirect({ values, settings }: Checked): Problem[] {
  if (values.backend === 's3') return [];
  const isWrong: Partial<Record<KeyId, boolean>> = {
    redirect: values.redirect !== 'off',
    // Else it is told already, with the other keys of the bucket.
    s3PublicEndpoint: needsBucket(values),
  };
  return withoutEffect(
    settings,
    REDIRECT_KEYS.filter((id) => isWrong[id] ?? true),
    { because: `nobody can be sent to storage.backend "${values.backend}"`, suggestion: 'remove it' },
  );
}

function checkS3Memory({ values, settings }: Checked): Problem[] {
  if (!needsBucket(values) || values.s3UploadMemory >= 2 * values.s3PartSize) return [];
  const set = settings.has('s3PartSize') ? 's3PartSize' : 's3UploadMemory';
  const message = 's3.upload_memory is less than twice s3.part_size';
  return [problem(settings, set, message, 'make the parts smaller or the memory larger')];
}

const GHOSTBAY_KEYS = keysBelow('ghostbay.');
/** Those without a default. */
const GHOSTBAY_NEEDED = [
  'ghostbayEndpoint',
  'ghostbayBucket',
  'ghostbayAccessKey',
  'ghostbaySecretKey',
] as const satisfies readonly KeyId[];

function needsGhostbay({ backend, migrateFrom }: KeyValues): boolean {
  return backend === 'ghostbay' || migrateFrom === 'ghostbay';
}

function checkGhostbay({ values, settings }: Checked): Problem[] {
  if (!needsGhostbay(values)) {
    return withoutEffect(settings, GHOSTBAY_KEYS, {
      because: `storage.backend is "${values.backend}"`,
      suggestion: 'set storage.backend = "ghostbay", or storage.migrate_from while blobs move from there',
    });
  }
  const asking = values.migrateFrom === 'ghostbay' ? 'migrateFrom' : 'backend';
  return GHOSTBAY_NEEDED.filter((id) => values[id] === null).map((id) => {
    const message = `${KEYS[asking].path} is "ghostbay", but ${KEYS[id].path} is not set`;
    return problem(settings, asking, message, `set ${KEYS[id].env[0]}`);
  });
}

function checkGhostbayMemory({ values, settings }: Checked): Problem[] {
  if (!needsGhostbay(values) || values.ghostbayUploadMemory >= 2 * values.ghostbaySegment) return [];
  const set = settings.has('ghostbaySegment') ? 'ghostbaySegment' : 'ghostbayUploadMemory';
  const message = 'ghostbay.upload_memory is less than twice ghostbay.segment_size';
  return [problem(settings, set, message, 'make the segments smaller or the memory larger')];
}

function checkNames({ values, htpasswd, settings }: Checked): Problem[] {
  const twice = [...htpasswd].filter((name) => values.users.has(name));
  return twice.map((name) =>
    problem(
      settings,
      'htpasswd',
      `user "${name}" stands in the htpasswd file and in basic.users`,
      'keep one of them',
    ),
  );
}

function checkScopes({ values, htpasswd, settings }: Checked): Problem[] {
  const names = [...values.users.keys(), ...htpasswd];
  return [...values.userScopes.keys()]
    .filter((name) => !names.includes(name))
    .map((name) => {
      const meant = nearest(name, names);
      return problem(
        settings,
        'userScopes',
        `basic.scopes names user "${name}", who does not exist`,
        meant && `did you mean ${meant}?`,
      );
    });
}

/** Two listeners on one port work only on two addresses of their own. */
function checkAddresses({ values, settings }: Checked): Problem[] {
  const { bind, ui } = values;
  const same = bind.host === ui.host;
  if (bind.port !== ui.port || bind.port === 0 || same || !(isWildcard(bind) || isWildcard(ui))) return [];
  const message = `server.bind_addr ${showAddress(bind)} and server.ui_addr ${showAddress(ui)} overlap on port ${bind.port}`;
  return [
    problem(
      settings,
      settings.has('ui') ? 'ui' : 'bind',
      message,
      'make them equal, or give them different ports',
    ),
  ];
}

function isWildcard({ host }: ListenAddress): boolean {
  return host === '0.0.0.0' || host === '::';
}

function checkTokens({ values, settings }: Checked): Problem[] {
  if (values.accessToken <= values.refreshToken) return [];
  return [
    problem(
      settings,
      'accessToken',
      'auth.access_token_lifetime is longer than auth.refresh_token_lifetime',
      null,
    ),
  ];
}

function checkConnections({ values, settings }: Checked): Problem[] {
  // With one of them left alone, the other simply caps it.
  if (!settings.has('connections') || !settings.has('connectionsPerAddress')) return [];
  if (values.connectionsPerAddress <= values.connections) return [];
  return [
    problem(
      settings,
      'connectionsPerAddress',
      'limits.connections_per_address is larger than limits.connections',
      null,
    ),
  ];
}

/** The keys of a table of drift.toml. */
function keysBelow(table: string): readonly KeyId[] {
  return (Object.keys(KEYS) as KeyId[]).filter((id) => KEYS[id].path.startsWith(table));
}

/** Of these keys, those that are set although nothing would listen to them. */
function withoutEffect(
  settings: Settings,
  ids: readonly KeyId[],
  why: { readonly because: string; readonly suggestion: string },
): Problem[] {
  return ids
    .filter((id) => settings.has(id))
    .map((id) => problem(settings, id, `${KEYS[id].path} is set, but ${why.because}`, why.suggestion));
}

function problem(settings: Settings, id: KeyId, message: string, suggestion: string | null): Problem {
  return { where: settings.get(id)?.source ?? KEYS[id].path, message, suggestion };
}
