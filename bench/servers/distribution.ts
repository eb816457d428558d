import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireTool } from '../../scripts/tools.ts';
import { freePort, launch, newDirectory, nobody, type Server } from './server.ts';

/** distribution 3 with its file system driver, as its own example configuration has it. */
export function startDistribution(storage?: readonly string[]): Promise<Server> {
  return start('distribution 3', requireTool('distribution'), storage ?? null);
}

/** What Debian ships: distribution 2.8. */
export function startDockerRegistry(): Promise<Server> {
  return start('docker-registry', requireTool('docker-registry'), null);
}

/** `storage`: lines of its driver; `null` for the file system. */
async function start(name: string, command: string, storage: readonly string[] | null): Promise<Server> {
  const directory = newDirectory('peer');
  const port = await freePort();
  const file = join(directory, 'config.yml');
  writeFileSync(
    file,
    [
      'version: 0.1',
      'log: { level: info, formatter: json }',
      'storage:',
      '  cache: { blobdescriptor: inmemory }',
      ...(storage ?? [`  filesystem: { rootdirectory: ${join(directory, 'data')} }`]),
      `http: { addr: "127.0.0.1:${port}" }`,
      '',
    ].join('\n'),
  );
  const env = { OTEL_TRACES_EXPORTER: 'none' };
  const server = await launch({ name, command, args: ['serve', file], directory, port, env });
  return { ...server, authorize: nobody };
}
