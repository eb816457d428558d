import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { requireTool } from '../../scripts/tools.ts';
import { freePort } from './free-port.ts';
import { type Postgres, SUPERUSER } from './postgres.ts';
import { Service } from './service.ts';

/** PgBouncer in transaction mode: each transaction may get another connection. */
export interface PgBouncer extends AsyncDisposable {
  readonly port: number;
  /** The address of this PostgreSQL's database through the pooler. */
  url(database: string): string;
  /** The address that `direct` (of the PostgreSQL behind) has through the pooler. */
  through(direct: string): string;
  kill(): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** Fewer than any test has callers, so that connections do change hands. */
export const SERVER_CONNECTIONS = 8;
const CLIENT_CONNECTIONS_MAX = 500;
/** The pooler refuses to run as root. */
const POOLER_USER = 'nobody';

export interface PgBouncerOptions {
  /** To PostgreSQL. Default: `SERVER_CONNECTIONS`. */
  readonly serverConnections?: number;
  /** More are refused. Default: 500. */
  readonly clientConnections?: number;
}

export async function startPgBouncer(
  target: Pick<Postgres, 'port'>,
  options: PgBouncerOptions = {},
): Promise<PgBouncer> {
  const port = await freePort();
  const url = (database: string): string => `postgres://${SUPERUSER}@127.0.0.1:${port}/${database}`;
  const service = new Service({
    name: 'pgbouncer',
    user: POOLER_USER,
    command: (home) => {
      const file = join(home, 'pgbouncer.ini');
      writeFileSync(file, settings({ ...options, port, target: target.port, home }));
      return [requireTool('pgbouncer'), file];
    },
    answers: () => answers(url('postgres')),
  });
  await service.start();
  return {
    port,
    url,
    through: (direct) => {
      const address = new URL(direct);
      address.port = String(port);
      return address.href;
    },
    kill: () => service.kill(),
    stop: () => service.stop(),
    start: () => service.start(),
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  };
}

function settings(
  options: PgBouncerOptions & { readonly port: number; readonly target: number; readonly home: string },
): string {
  const { serverConnections = SERVER_CONNECTIONS, clientConnections = CLIENT_CONNECTIONS_MAX } = options;
  return [
    '[databases]',
    `* = host=127.0.0.1 port=${options.target} user=${SUPERUSER}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${options.port}`,
    `unix_socket_dir = ${options.home}`,
    'auth_type = any',

    'pool_mode = transaction',
    `default_pool_size = ${serverConnections}`,
    `max_client_conn = ${clientConnections}`,
  ].join('\n');
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } finally {
    await client.end().catch(() => {});
  }
}
