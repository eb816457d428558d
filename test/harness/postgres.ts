import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { requireTool } from '../../scripts/tools.ts';
import { freePort } from './free-port.ts';

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
}

const START_MILLISECONDS_MAX = 60_000;
/** The server refuses to run as root. */
const SERVER_USER = 'nobody';
export const SUPERUSER = 'drift';

export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  const home = mkdtempSync(join(tmpdir(), 'drift-postgres-'));
  const directory = options.directory ?? join(home, 'data');
  hand(home);
  if (options.directory === undefined) {
    const initdb = [requireTool('initdb'), '-D', directory, '-U', SUPERUSER, '-A', 'trust', '-E', 'UTF8'];
    execFileSync('/usr/bin/env', [...asServer(), ...initdb, '--locale=C', '--no-sync'], { stdio: 'ignore' });
  } else {
    hand(directory);
  }
  const port = await freePort();
  const server = new Server({ home, directory, port, options });
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

class Server implements Postgres {
  readonly port: number;
  readonly directory: string;
  readonly #home: string;
  readonly #settings: readonly string[];
  #child: ChildProcess | null = null;

  constructor(made: {
    readonly home: string;
    readonly directory: string;
    readonly port: number;
    readonly options: PostgresOptions;
  }) {
    this.port = made.port;
    this.directory = made.directory;
    this.#home = made.home;
    const careless = ['fsync=off', 'full_page_writes=off', 'synchronous_commit=off'];
    const isDurable = made.options.durable ?? true;
    this.#settings = [...(isDurable ? [] : careless), ...(made.options.settings ?? [])];
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
    const settings = [
      'listen_addresses=127.0.0.1',
      `port=${this.port}`,
      `unix_socket_directories=${this.#home}`,
      'max_connections=300',
      'shared_buffers=128MB',
      ...this.#settings,
    ];
    const log = join(this.#home, 'log');
    // A group of its own, so that a kill takes all of its processes at once.
    const child = spawn(
      '/usr/bin/env',
      [
        ...asServer(),
        'sh',
        '-c',
        'exec "$@" >>"$0" 2>&1',
        log,
        requireTool('postgres'),
        '-D',
        this.directory,
        ...settings.flatMap((line) => ['-c', line]),
      ],
      { stdio: 'ignore', detached: true },
    );
    this.#child = child;
    const deadline = Date.now() + START_MILLISECONDS_MAX;
    for (;;) {
      if (await this.#answers()) return;
      if (child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`PostgreSQL does not start:\n${readFileSync(log, 'utf8').slice(-2000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }

  async kill(): Promise<void> {
    await this.#end((pid) => process.kill(-pid, 'SIGKILL'));
  }

  async stop(): Promise<void> {
    // SIGINT: PostgreSQL's "fast" shutdown.
    await this.#end((pid) => process.kill(pid, 'SIGINT'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end((pid) => process.kill(-pid, 'SIGKILL'));
    rmSync(this.#home, { recursive: true, force: true });
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #end(signal: (pid: number) => void): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    signal(child.pid);
    await ended;
  }

  async #answers(): Promise<boolean> {
    try {
      await this.#ask('select 1');
      return true;
    } catch {
      return false;
    }
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

/** As the server's user, and not beyond the life of this process. */
function asServer(): string[] {
  const user = [`--reuid=${SERVER_USER}`, '--regid=nogroup', '--clear-groups'];
  return ['setpriv', '--pdeathsig=KILL', ...(userInfo().uid === 0 ? user : []), '--'];
}

/** Gives a directory to the user that the server runs as. */
function hand(directory: string): void {
  chmodSync(directory, 0o700);
  if (userInfo().uid === 0) execFileSync('chown', ['-R', `${SERVER_USER}:nogroup`, directory]);
}
