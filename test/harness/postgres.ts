import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { requireTool } from '../../scripts/tools.ts';
import { freePort } from './free-port.ts';
import { asService, handOver, Service } from './service.ts';

/** A real PostgreSQL on loopback, with all of its files in a folder of its own. */
export interface Postgres {
  readonly port: number;
  readonly directory: string;
  /** A new database: empty, or a copy of the one at `template`, to which nobody may be connected meanwhile. */
  createDatabase(options?: { readonly template?: string }): Promise<string>;
  /** The address of one that is there. */
  url(database: string): string;
  /** SIGKILL to every process of it: as if the machine had lost it. */
  kill(): Promise<void>;
  /** After `kill` or `stop`: the same data, at the same address. */
  start(): Promise<void>;
  /** As an operator would: no new work, then down. Keeps the files. */
  stop(): Promise<void>;
  /** Stops it and removes its files. */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface PostgresOptions {
  /** Lines of postgresql.conf. */
  readonly settings?: readonly string[];
  /** False: faster, for tests that pull no plug. Default: true. */
  readonly durable?: boolean;
  /** An existing data directory (of a base backup, say) instead of a new one. */
  readonly directory?: string;
  /** It then speaks TLS, too. */
  readonly certificate?: { readonly certificateFile: string; readonly keyFile: string };
  /** Lines of pg_hba.conf before the one that trusts everybody here. */
  readonly access?: readonly string[];
}

/** The server refuses to run as root. */
const SERVER_USER = 'nobody';
export const SUPERUSER = 'drift';

/** Debian's server, or the one that `POSTGRES_VERSION=18` asks for. */
const VERSION = process.env.POSTGRES_VERSION;
if (VERSION !== undefined && VERSION !== '18') throw new TypeError(`no PostgreSQL ${VERSION} is installed`);

export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  const server = new Server(options, await freePort());
  await server.start();
  return server;
}

/** A streaming replica of this server: it replays what the primary has committed, a moment later, and can only be read. */
export async function startReplica(
  primary: Pick<Postgres, 'port'>,
  options: Pick<PostgresOptions, 'settings'> = {},
): Promise<Postgres> {
  const directory = mkdtempSync(join(tmpdir(), 'drift-replica-'));
  const url = `postgres://${SUPERUSER}@127.0.0.1:${primary.port}/postgres`;
  const copy = ['-D', directory, '-d', url, '--write-recovery-conf', '--checkpoint=fast', '--no-sync'];
  execFileSync(requireTool('pg_basebackup'), copy, { stdio: 'ignore' });
  return startPostgres({ ...options, directory });
}

const CARELESS = ['fsync=off', 'full_page_writes=off', 'synchronous_commit=off'];

class Server implements Postgres {
  readonly port: number;
  readonly directory: string;
  readonly #service: Service;
  /** The folder of `postgres` and `initdb`. */
  readonly #programs: string;

  constructor(options: PostgresOptions, port: number) {
    this.port = port;
    const settings = [
      'listen_addresses=127.0.0.1',
      `port=${port}`,
      'max_connections=300',
      'shared_buffers=128MB',
      ...((options.durable ?? true) ? [] : CARELESS),
      ...(options.certificate === undefined ? [] : ['ssl=on']),
      ...(options.settings ?? []),
    ];
    this.#service = new Service({
      name: 'postgres',
      user: SERVER_USER,
      // PostgreSQL's "fast" shutdown.
      stopSignal: 'SIGINT',
      command: (home) => [
        join(this.#programs, 'postgres'),
        '-D',
        this.directory,
        '-k',
        home,
        ...settings.flatMap((line) => ['-c', line]),
      ],
      answers: () => this.#ask('select 1').then(() => true),
    });
    this.#programs = findPrograms(this.#service.home);
    this.directory = options.directory ?? makeCluster(this.#programs, join(this.#service.home, 'data'));
    this.#configure(options);
    if (this.directory === options.directory || options.certificate !== undefined)
      handOver(this.directory, SERVER_USER);
  }

  #configure({ certificate, access = [] }: PostgresOptions): void {
    if (certificate !== undefined) {
      const key = join(this.directory, 'server.key');
      copyFileSync(certificate.certificateFile, join(this.directory, 'server.crt'));
      copyFileSync(certificate.keyFile, key);
      chmodSync(key, 0o600);
    }
    const file = join(this.directory, 'pg_hba.conf');
    if (access.length > 0) writeFileSync(file, [...access, readFileSync(file, 'utf8')].join('\n'));
  }

  url(database: string): string {
    return `postgres://${SUPERUSER}@127.0.0.1:${this.port}/${database}`;
  }

  async createDatabase(options: { readonly template?: string } = {}): Promise<string> {
    const name = `drift_${randomBytes(6).toString('hex')}`;
    const template = options.template === undefined ? null : new URL(options.template).pathname.slice(1);
    await this.#ask(`create database ${name}${template === null ? '' : ` template ${template}`}`);
    return this.url(name);
  }

  async start(): Promise<void> {
    await this.#service.start();
  }

  async kill(): Promise<void> {
    await this.#service.kill();
  }

  async stop(): Promise<void> {
    await this.#service.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #ask(sql: string): Promise<void> {
    const client = new pg.Client({ connectionString: this.url('postgres') });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query(sql);
    } finally {
      await client.end().catch(() => {});
    }
  }
}

function findPrograms(home: string): string {
  if (VERSION === undefined) return dirname(requireTool('postgres'));
  // Where root keeps its tools the server's user may not look.
  const copy = join(home, 'postgresql');
  cpSync(join(requireTool('postgres18'), '../..'), copy, { recursive: true, verbatimSymlinks: true });
  handOver(copy, SERVER_USER);
  return join(copy, 'bin');
}

function makeCluster(programs: string, directory: string): string {
  const initdb = [join(programs, 'initdb'), '-D', directory, '-U', SUPERUSER, '-A', 'trust', '-E', 'UTF8'];
  const command = [...asService(SERVER_USER), ...initdb, '--locale=C', '--no-sync'];
  execFileSync('/usr/bin/env', command, { stdio: 'ignore' });
  return directory;
}
