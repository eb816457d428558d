import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { Config } from './config.ts';
import { ConfigError, formatProblems, type Problem } from './config-error.ts';
import { describeConfig } from './describe-config.ts';
import { KEYS, type Key } from './keys.ts';
import { type ConfigInput, type ResolvedConfig, readConfig } from './read.ts';

const made: string[] = [];
after(() => {
  for (const directory of made) rmSync(directory, { recursive: true });
});

interface Setup {
  readonly toml?: string;
  readonly env?: Record<string, string>;
  readonly flags?: ConfigInput['flags'];
  readonly files?: Record<string, string>;
}

function read({ toml, env = {}, flags = {}, files = {} }: Setup): ResolvedConfig & { cwd: string } {
  const cwd = mkdtempSync(join(tmpdir(), 'drift-config-'));
  made.push(cwd);
  if (toml !== undefined) writeFileSync(join(cwd, 'drift.toml'), toml);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(cwd, name), content);
  return { ...readConfig({ flags, env, cwd }), cwd };
}

function problems(setup: Setup): readonly Problem[] {
  try {
    read(setup);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

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
  ['database.backend = "sqlite"', ({ storage }) => storage.backend, 'fs'],
  ['database.sqlite_path = "/srv/names.db"', ({ storage }) => storage.ledgerFile, '/srv/names.db'],
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
  ['storage.backend = "s3"', PART],
  ['DRIFT_STORAGE_BACKEND=s3', PART],
  ['DRIFT_STORAGE_BACKEND=ghostbay', PART],
  ['storage.backend = "tiered"', PART],
  ...['BUCKET', 'ENDPOINT', 'REGION', 'ACCESS_KEY', 'SECRET_KEY', 'PATH_STYLE'].map(
    (name) => [`DRIFT_S3_${name}=x`, PART] as const,
  ),
  ...['endpoint', 'region', 'bucket', 'path_style', 'access_key', 'secret_key'].flatMap((name) => [
    [`s3.${name} = "x"`, PART] as const,
    [`storage.s3.${name} = "x"`, PART] as const,
  ]),
  ['ghostbay.endpoint = "x"', PART],
  ['quic.enabled = true', PART],
  ['DRIFT_QUIC_ENABLED=true', PART],
  ['rbac.enabled = true', PART],
  ['DRIFT_RBAC_ENABLED=true', PART],
  ['cluster.node_id = "a"', PART],
  ['signing.enabled = true', PART],
  ['cache.redis_url = "x"', PART],
  ['bolt.enable_profile_validation = true', PART],
  ['DRIFT_BOLT_AUTO_UPDATE_PROFILES=true', PART],
  ['DRIFT_AZURE_TENANT_ID=x', PART],
  ['DRIFT_GITHUB_CLIENT_ID=x', PART],
  ['database.backend = "postgres"', PART],
  ['database.postgres_url = "x"', PART],
  ['audit.enabled = true', PART],
  ['garbage_collector.interval = 1', PART],
  ['registry.rate_limit_per_hour = 1000', PART],
  ['DRIFT_RATE_LIMIT_PER_HOUR=1000', PART],
  ['auth.jwt_secret = "x"', /rotates itself/],
  ['DRIFT_AUTH_JWT_SECRET=x', /rotates itself/],
  ['metrics.enabled = true', /always served/],
];

const CONTRADICTIONS: readonly (readonly [name: string, setup: Setup, message: RegExp])[] = [
  [
    'a certificate without key',
    { env: { DRIFT_TLS_CERT: '/c.pem' } },
    /tls\.cert_file is set without tls\.key_file/,
  ],
  ['a key without certificate', { toml: 'tls.key_file = "/k.pem"' }, /tls\.key_file is set without/],
  [
    'memory with workers',
    { env: { DRIFT_STORAGE_BACKEND: 'memory', DRIFT_WORKERS: '2' } },
    /one process only/,
  ],
  [
    'scopes of nobody',
    { env: { DRIFT_USERS: 'ci:long-enough', DRIFT_USER_SCOPES: 'cy=repository:a:pull' } },
    /"cy", who does not exist/,
  ],
  ['a user twice', { env: { DRIFT_USERS: 'ci:one-password,ci:two-passwords' } }, /"ci" is listed twice/],
  [
    'overlapping addresses',
    { env: { DRIFT_BIND_ADDR: '0.0.0.0:5000', DRIFT_UI_ADDR: '127.0.0.1:5000' } },
    /overlap on port 5000/,
  ],
  [
    'two names that differ',
    { env: { DRIFT_FS_ROOT: '/a', DRIFT_STORAGE_PATH: '/b' } },
    /contradict each other/,
  ],
  [
    'both spellings in one file',
    { toml: 'storage.fs_root = "/a"\nstorage.path = "/b"' },
    /is set already, as storage\.fs_root/,
  ],
  [
    'value and file',
    { env: { DRIFT_USERS: 'a:long-enough', DRIFT_USERS_FILE: 'u' }, files: { u: 'b:x' } },
    /contradict each other/,
  ],
  [
    'tokens that outlive their refresh',
    { toml: 'auth.access_token_lifetime = "24h"\nauth.refresh_token_lifetime = "2h"' },
    /is longer than/,
  ],
  [
    'a user in both places',
    { env: { DRIFT_USERS: 'ci:long-enough', DRIFT_HTPASSWD_FILE: 'h' }, files: { h: `ci:${BCRYPT}` } },
    /stands in the htpasswd file and in/,
  ],
];

const WRONG: readonly (readonly [setting: string, message: RegExp])[] = [
  ['server.bind_addr = 5000', /must be a string in quotes, not 5000/],
  ['server.bind_addr = "localhost"', /must be host:port/],
  ['DRIFT_BIND_ADDR=0.0.0.0:70000', /must be host:port/],
  ['server.workers = "4"', /must be a whole number, not "4"/],
  ['server.workers = 0', /must be between 1 and 256, not 0/],
  ['server = 5', /must be a table/],
  ['server.external_url = "registry.example.com"', /with http:\/\/ or https:\/\//],
  ['server.external_url = "https://r.example.com/path"', /without a path/],
  ['storage.reserve = -1', /must be a size/],
  ['storage.reserve = "10 apples"', /must be a size/],
  ['limits.upload_idle = "1 fortnight"', /must be a time/],
  ['registry.deletes = "yes"', /must be true or false, without quotes/],
  ['DRIFT_TRUSTED_PROXIES=10.0.0.0/33', /address blocks/],
  ['retention.immutable_tags = "a b"', /must hold tags or globs/],
  ['auth.anonymous_pull = ["Team/*"]', /must hold repository names or globs/],
  ['DRIFT_LOG=loud', /must be a level/],
  ['RUST_LOG=drift=loud', /must name levels/],
  ['DRIFT_USERS=admin', /name:password/],
  ['DRIFT_USERS=admin:secret-one,ci', /name:password/],
  ['DRIFT_USERS=admin:', /has an empty password/],
  ['DRIFT_USERS=:x', /a user name is empty/],
  ['basic.users = ["a:$apr1$x$y"]', /neither bcrypt nor argon2/],
  ['basic.users = ["a:$argon2id$v=19$m=99999999,t=1,p=1$x$y"]', /not a complete PHC string/],
  ['basic.users = ["a:$2y$10$short"]', /not complete/],
  ['basic.scopes.ci = "everything"', /must hold scopes such as/],
];

function passwords({ secrets }: Config): unknown {
  return Object.fromEntries(secrets.passwords);
}

function storageAt(root: string): Config['storage'] {
  return { backend: 'fs', root, reserveBytes: 1024 ** 3, ledgerFile: `${root}/drift.db` };
}

function setting(text: string): Setup {
  const env = /^([A-Z0-9_]+)=(.*)$/s.exec(text);
  return env ? { env: { [env[1] ?? '']: env[2] ?? '' } } : { toml: text };
}

describe('readConfig', () => {
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
  for (const [text, message] of WRONG) {
    it(`${text}, a wrong value, is refused`, () => {
      const found = problems(setting(text));
      assert.equal(found.length, 1, JSON.stringify(found));
      assert.match(found[0]?.message ?? '', message);
    });
  }
  for (const [name, setup, message] of CONTRADICTIONS) {
    it(`${name}, a contradiction, is refused`, () => {
      const found = problems(setup);
      assert.equal(found.length, 1, JSON.stringify(found));
      assert.match(found[0]?.message ?? '', message);
    });
  }

  it('certificate and key, by either name, turn TLS on', () => {
    const tls = { certificateFile: '/c.pem', keyFile: '/k.pem' };
    assert.deepEqual(read({ env: { DRIFT_TLS_CERT: '/c.pem', DRIFT_TLS_KEY: '/k.pem' } }).config.tls, tls);
    assert.deepEqual(read({ toml: '[tls]\ncert_file = "/c.pem"\nkey_file = "/k.pem"' }).config.tls, tls);
    assert.equal(read({}).config.tls, null);
  });

  it('bind_addr and ui_addr, when equal, are accepted', () => {
    const { server } = read({ env: { DRIFT_BIND_ADDR: '0.0.0.0:80', DRIFT_UI_ADDR: '0.0.0.0:80' } }).config;
    assert.deepEqual(server.bind, server.ui);
  });

  it('user scopes, from file and environment, cut down the named users only', () => {
    const users = ['admin:long-enough', 'ci:long-enough-2'];
    const expected = [
      { name: 'admin', scopes: null },
      { name: 'ci', scopes: ['repository:ghost/demo:push', 'registry:catalog:*'] },
    ];
    const env = {
      DRIFT_USERS: users.join(),
      DRIFT_USER_SCOPES: 'ci=repository:ghost/demo:push registry:catalog:*',
    };
    assert.deepEqual(read({ env }).config.auth.users, expected);
    for (const table of ['basic', 'auth.basic']) {
      const toml = `[${table}]\nusers = ${JSON.stringify(users)}\n[${table}.scopes]\nci = ["repository:ghost/demo:push", "registry:catalog:*"]`;
      assert.deepEqual(read({ toml }).config.auth.users, expected);
    }
  });

  it('an htpasswd file, with good and bad lines, tells the bad ones by line', () => {
    const env = { DRIFT_HTPASSWD_FILE: 'h', DRIFT_USER_SCOPES: 'dev=repository:a:*' };
    const good = read({ env, files: { h: `# people\ndev:${BCRYPT}\n` } });
    assert.deepEqual(good.config.auth.users, [{ name: 'dev', scopes: ['repository:a:pull,push,delete'] }]);
    assert.equal(good.config.auth.htpasswdFile, join(good.cwd, 'h'));
    const bad = problems({
      env: { DRIFT_HTPASSWD_FILE: 'h' },
      files: { h: `dev:${BCRYPT}\nx:plain-text\ny:{SHA}abc=` },
    });
    assert.deepEqual(
      bad.map(({ where }) => where.replace(/.*:/, '')),
      ['2', '3'],
    );
    assert.match(problems({ env: { DRIFT_HTPASSWD_FILE: 'none' } })[0]?.message ?? '', /it does not exist/);
  });

  it('every key, by a file that NAME_FILE names, takes what stands there', () => {
    const env = { DRIFT_USERS_FILE: 'users', DRIFT_BIND_ADDR_FILE: 'bind' };
    const { config } = read({
      env,
      files: { users: 'admin:long-enough\nci:long-too\n', bind: '127.0.0.1:9\n' },
    });
    assert.deepEqual(passwords(config), { admin: 'long-enough', ci: 'long-too' });
    assert.equal(config.server.bind.port, 9);
    const { config: other } = read({ toml: 'basic.users_file = "users"', files: { users: 'a:long-enough' } });
    assert.deepEqual(passwords(other), { a: 'long-enough' });
    assert.match(
      problems({ env: { DRIFT_USERS_FILE: 'none' } })[0]?.message ?? '',
      /none: it does not exist/,
    );
  });

  it('one key, set everywhere, follows flag over environment over file', () => {
    const toml = 'server.bind_addr = "127.0.0.1:1"';
    const env = { DRIFT_BIND_ADDR: '127.0.0.1:2' };
    const port = (setup: Setup) => read(setup).config.server.bind.port;
    assert.deepEqual(
      [port({ toml }), port({ toml, env }), port({ toml, env, flags: { bind: '127.0.0.1:3' } })],
      [1, 2, 3],
    );
    assert.equal(read({ flags: { uiBind: '127.0.0.1:4' } }).config.server.ui.port, 4);
  });

  it('the log filter, set everywhere, follows DRIFT_LOG over RUST_LOG over file', () => {
    const toml = 'logging.level = "error"';
    const filter = (env: Record<string, string>) => read({ toml, env }).config.logging.filter;
    assert.deepEqual(
      [filter({}), filter({ RUST_LOG: 'warn' }), filter({ RUST_LOG: 'warn', DRIFT_LOG: 'debug' })],
      ['error', 'warn', 'debug'],
    );
  });

  it('the file, named in several ways, follows --config over DRIFT_CONFIG over ./drift.toml', () => {
    const file = (port: number) => `server.bind_addr = "127.0.0.1:${port}"`;
    const files = { 'a.toml': file(2), 'b.toml': file(3) };
    const port = (setup: Setup) => read({ toml: file(1), files, ...setup }).config.server.bind.port;
    const env = { DRIFT_CONFIG: 'a.toml' };
    assert.deepEqual([port({}), port({ env }), port({ env, flags: { config: 'b.toml' } })], [1, 2, 3]);
    assert.deepEqual(problems({ env: { DRIFT_CONFIG: 'none.toml' } })[0]?.where, 'DRIFT_CONFIG');
    assert.deepEqual(problems({ flags: { config: 'none.toml' } })[0]?.where, '--config');
  });

  it('several problems, in file and environment, are told at once with lines and suggestions', () => {
    const toml = [
      '# a comment',
      '[server]',
      'bind_adr = "0.0.0.0:5000"',
      'workers = [',
      '  1,',
      ']',
      '',
      '[oidc]',
      'issuer = "x"',
      '[auth]',
      'users = []',
      '[basc]',
      'a = 1',
    ].join('\n');
    const found = problems({ toml, env: { DRIFT_BIND_ADR: 'x' } });
    assert.deepEqual(
      found.map(({ where, suggestion }) => [where, suggestion]),
      [
        ['drift.toml:3', 'did you mean server.bind_addr?'],
        ['drift.toml:4', null],
        ['drift.toml:9', 'remove it'],
        ['drift.toml:11', 'did you mean basic.users?'],
        ['drift.toml:12', 'did you mean basic?'],
        ['DRIFT_BIND_ADR', 'did you mean DRIFT_BIND_ADDR?'],
      ],
    );
    assert.match(formatProblems(new ConfigError(found)), /has 6 problems:\n {2}drift.toml:3: unknown key/);
  });

  it('a file that is no TOML, with a password on the broken line, is refused by line without it', () => {
    const found = problems({ toml: '[basic]\nusers = ["admin:hunter22]\n' });
    assert.equal(found[0]?.where.startsWith('drift.toml:2'), true);
    assert.doesNotMatch(JSON.stringify(found), /hunter22/);
  });

  it('refused users, in any form, are told without their passwords', () => {
    for (const text of [
      'DRIFT_USERS=topsecret1',
      'DRIFT_USERS=a:topsecret1,topsecret2',
      'basic.users = 12345678',
      'basic.users = ["topsecret1"]',
    ]) {
      assert.doesNotMatch(JSON.stringify(problems(setting(text))), /topsecret|12345678/);
    }
  });

  it('names that platforms and other programs set, beside ours, are left alone', () => {
    const env = {
      DRIFT_PORT: 'tcp://10.0.0.1:5000',
      DRIFT_SERVICE_HOST: '10.0.0.1',
      DRIFT_PORT_5000_TCP_ADDR: '10.0.0.1',
      DRIFT_REGISTRY_ENDPOINT: 'x',
      DRIFT_USERS: '',
    };
    assert.deepEqual(problems({ env }), []);
    assert.equal(problems({ env: { DRIFT_PORT: '5000' } }).length, 1);
  });

  it('weak passwords, plain ones only, are warned of by user name', () => {
    const { warnings } = read({
      env: { DRIFT_USERS: `admin:changeme,ci:tokenonly,x:short,ok:a-good-long-one,h:${BCRYPT}` },
    });
    assert.deepEqual(
      warnings.map((warning) => /user "(\w+)"/.exec(warning)?.[1]),
      ['admin', 'ci', 'x'],
    );
    assert.doesNotMatch(warnings.join(), /changeme|tokenonly|short[^e]/);
  });

  it('describeConfig, with secrets set, masks them and names each source', () => {
    const env = { DRIFT_USERS: `admin:changeme,h:${ARGON2}` };
    const lines = describeConfig(read({ toml: '[server]\nworkers = 3', env })).join('\n');
    assert.match(lines, /server\.workers +=\s3 {2}\(drift\.toml:2\)/);
    assert.match(
      lines,
      /basic\.users +=\sadmin:\*\*\* \(plain\), h:\*\*\* \(argon2\) {2}\(DRIFT_USERS, reloads\)/,
    );
    assert.doesNotMatch(lines, /changeme|c2FsdHNhbHRzYWx0/);
  });

  it('the shipped drift.toml, read, changes no default', () => {
    const { config } = readConfig({
      flags: { config: join(import.meta.dirname, '../../drift.toml') },
      env: {},
      cwd: '/',
    });
    assert.deepEqual(config, readConfig({ flags: {}, env: {}, cwd: '/' }).config);
  });

  it('the shipped drift.toml, with its comments taken off, holds only keys that exist', () => {
    const known = new Set(
      (Object.values(KEYS) as Key<unknown>[]).flatMap(({ path }) => [path, `${path}_file`]),
    );
    const shipped = readLines(join(import.meta.dirname, '../../drift.toml'));
    assert.deepEqual(
      shipped.filter((path) => !known.has(path) && !path.startsWith('basic.scopes.')),
      [],
    );
    assert.ok(shipped.length > 20);
  });

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

function readLines(file: string): string[] {
  let table = '';
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => {
      table = /^\[(.*)\]$/.exec(line)?.[1] ?? table;
      const key = /^# (\w+) = /.exec(line)?.[1];
      return key === undefined ? [] : [`${table}.${key}`];
    });
}
