import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Config } from './config.ts';
import { ConfigError, formatProblems } from './config-error.ts';
import { describeConfig } from './describe-config.ts';
import type { Key } from './key.ts';
import { KEYS } from './keys.ts';
import { readConfig } from './read.ts';
import { problems, read, type Setup, setting } from './try-config.ts';

const ARGON2 = '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz';
const BCRYPT = `$2y$10$${'a'.repeat(53)}`;
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
    'a database file beside PostgreSQL',
    {
      env: {
        DRIFT_DATABASE_BACKEND: 'postgres',
        DRIFT_DATABASE_URL: 'postgres://drift@db/drift',
        DRIFT_DATABASE_SQLITE_PATH: '/a',
      },
    },
    /sqlite_path is set, but database\.backend is "postgres"/,
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
    'a migration into itself',
    { env: { DRIFT_STORAGE_MIGRATE_FROM: 'fs' } },
    /name the other one|keeps blobs in "fs"/,
  ],
  [
    'a migration from a bucket without its name',
    { env: { DRIFT_STORAGE_MIGRATE_FROM: 's3' } },
    /storage\.migrate_from is "s3", but s3\.bucket is not set/,
  ],
  [
    'a migration from GhostBay without its bucket',
    {
      env: {
        DRIFT_STORAGE_MIGRATE_FROM: 'ghostbay',
        DRIFT_GHOSTBAY_ENDPOINT: 'http://ghostbay:8080',
        DRIFT_GHOSTBAY_ACCESS_KEY: 'AKIA0000000000000000',
        DRIFT_GHOSTBAY_SECRET_KEY: 'secret',
      },
    },
    /storage\.migrate_from is "ghostbay", but ghostbay\.bucket is not set/,
  ],
  [
    'a migration into nothing that lasts',
    { env: { DRIFT_STORAGE_BACKEND: 'memory', DRIFT_STORAGE_MIGRATE_FROM: 'fs', DRIFT_WORKERS: '1' } },
    /storage\.backend "memory" keeps nothing/,
  ],
  [
    'tiers without a hot directory',
    { env: { DRIFT_STORAGE_BACKEND: 'tiered', DRIFT_S3_BUCKET: 'drift' } },
    /tiered\.hot_path is not set/,
  ],
  [
    'keys of tiers without tiers',
    { env: { DRIFT_TIERED_HOT_SIZE: '1 GiB' } },
    /tiered\.hot_size is set, but storage\.backend is "fs"/,
  ],
  [
    'a backlog without write-back',
    {
      env: {
        DRIFT_STORAGE_BACKEND: 'tiered',
        DRIFT_TIERED_COLD: 'fs',
        DRIFT_TIERED_HOT_PATH: '/h',
        DRIFT_TIERED_BACKLOG_SIZE: '1',
      },
    },
    /tiered\.mode is "write-through"/,
  ],
  [
    'write-back on many nodes',
    {
      env: {
        DRIFT_STORAGE_BACKEND: 'tiered',
        DRIFT_TIERED_COLD: 'fs',
        DRIFT_TIERED_HOT_PATH: '/h',
        DRIFT_TIERED_MODE: 'write-back',
        DRIFT_DATABASE_BACKEND: 'postgres',
        DRIFT_DATABASE_URL: 'postgres://drift:secret@db.example.com/drift',
      },
    },
    /is for one node/,
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
  ['tls.key_file = "-----BEGIN PRIVATE KEY-----"', /the path of a file, not its content$/],
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

describe('readConfig', () => {
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
