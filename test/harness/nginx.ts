import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireTool } from '../../scripts/tools.ts';
import { childrenOf } from './process-tree.ts';

export interface Nginx {
  /** Another `server` block from now on; resolves when no process goes by the old one any more. */
  reload(serverBlock: string): Promise<void>;
  stop(): Promise<void>;
}

const START_MILLISECONDS_MAX = 10_000;
const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

/** A real nginx with this one `server` block, in the foreground, with all of its files in a folder of its own. */
export async function startNginx(options: {
  readonly serverBlock: string;
  /** Where the block listens. */
  readonly host: string;
  readonly port: number;
}): Promise<Nginx> {
  const directory = mkdtempSync(join(tmpdir(), 'drift-nginx-'));
  const file = (name: string) => join(directory, name);
  const configure = (serverBlock: string): void => {
    const lines = [
      // Its folder is not readable for the user that Debian's build would take.
      'user root;',
      'daemon off;',
      'worker_processes 1;',
      `pid ${file('nginx.pid')};`,
      `error_log ${file('error.log')} warn;`,
      'events {}',
      'http {',
      '  access_log off;',
      ...TEMPORARY.map((name) => `  ${name}_temp_path ${file(name)};`),
      serverBlock,
      '}',
    ];
    writeFileSync(file('nginx.conf'), lines.join('\n'));
  };
  configure(options.serverBlock);
  const child = spawn(
    requireTool('nginx'),
    ['-c', file('nginx.conf'), '-p', directory, '-e', file('error.log')],
    { stdio: 'ignore' },
  );
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    }
    rmSync(directory, { recursive: true, force: true });
  };
  const reload = async (serverBlock: string): Promise<void> => {
    const old = childrenOf(child.pid ?? 0);
    configure(serverBlock);
    child.kill('SIGHUP');
    while (childrenOf(child.pid ?? 0).some((pid) => old.includes(pid))) await sleep(20);
  };
  const deadline = Date.now() + START_MILLISECONDS_MAX;
  while (child.exitCode === null && Date.now() < deadline) {
    if (await accepts(options.host, options.port)) return { stop, reload };
    await sleep(50);
  }
  const log = readFileSync(file('error.log'), 'utf8');
  await stop();
  throw new Error(`nginx did not start:\n${log}`);
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
