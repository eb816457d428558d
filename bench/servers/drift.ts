import { fileURLToPath } from 'node:url';
import { freePort, launch, newDirectory, type Server } from './server.ts';

const PROGRAM = fileURLToPath(new URL('../../bin/drift.js', import.meta.url));
const USER = 'bench';
const PASSWORD = 'a-long-enough-password';

export interface DriftOptions {
  readonly name?: string;
  readonly workers?: number;
  /** Data that is there already; it goes with the server. */
  readonly directory?: string;
  readonly keepsDirectory?: boolean;
  /** For `node`, before the program: `--cpu-prof`. Workers get them, too. */
  readonly nodeArgs?: readonly string[];
  /** More of the configuration. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Drift as it comes: authentication, logging, metrics and durability on. */
export async function startDrift(options: DriftOptions = {}): Promise<Server> {
  const directory = options.directory ?? newDirectory('drift');
  const port = await freePort();
  const consolePort = await freePort();
  const server = await launch({
    name: options.name ?? 'Drift',
    command: process.execPath,
    args: [...(options.nodeArgs ?? []), PROGRAM, 'serve'],
    directory,
    port,
    keepsDirectory: options.keepsDirectory ?? false,
    env: {
      DRIFT_BIND_ADDR: `127.0.0.1:${port}`,
      DRIFT_UI_ADDR: `127.0.0.1:${consolePort}`,
      DRIFT_FS_ROOT: directory,
      DRIFT_STORAGE_RESERVE: '0',
      DRIFT_USERS: `${USER}:${PASSWORD}`,
      DRIFT_WORKERS: String(options.workers ?? 2),
      DRIFT_LOG_FORMAT: 'json',
      ...options.env,
    },
  });
  return { ...server, authorize: (repositories) => token(server.url, repositories) };
}

/** A bearer token, as container clients use it; it lists the catalog, too. */
async function token(url: string, repositories: readonly string[]): Promise<Record<string, string>> {
  const query = new URLSearchParams({ scope: 'registry:catalog:*' });
  for (const repository of repositories) query.append('scope', `repository:${repository}:pull,push`);
  const authorization = `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}`;
  const response = await fetch(`${url}/token?${query.toString()}`, { headers: { authorization } });
  if (!response.ok) throw new Error(`no token: ${response.status} ${await response.text()}`);
  const { token: text } = (await response.json()) as { token: string };
  return { authorization: `Bearer ${text}` };
}
