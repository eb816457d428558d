import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireTool } from '../../scripts/tools.ts';
import { freePort, launch, newDirectory, nobody, type Server } from './server.ts';

/** Serves the files of its directory's `files`: what the kernel can do without a registry in the way. */
export async function startNginx(options: { readonly files: string }): Promise<Server> {
  const directory = newDirectory('nginx');
  const port = await freePort();
  const file = join(directory, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  writeFileSync(
    file,
    [
      'user root; daemon off; worker_processes 2;',
      `pid ${directory}/nginx.pid; error_log ${directory}/error.log warn;`,
      'events {}',
      'http {',
      `  access_log ${directory}/access.log; sendfile on; tcp_nopush on;`,
      ...temporary.map((name) => `  ${name}_temp_path ${directory}/${name};`),
      `  server { listen 127.0.0.1:${port}; root ${options.files}; }`,
      '}',
    ].join('\n'),
  );
  const args = ['-c', file, '-p', directory, '-e', join(directory, 'error.log')];
  const server = await launch({ name: 'nginx', command: requireTool('nginx'), args, directory, port });
  return { ...server, authorize: nobody };
}
