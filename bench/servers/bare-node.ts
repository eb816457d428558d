import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, launch, newDirectory, nobody, type Server } from './server.ts';

const PROGRAM = fileURLToPath(new URL('./bare-node-program.ts', import.meta.url));

/** The ceiling: node:http that answers every request with these bytes, without looking at it. */
export async function startBareNode(options: {
  readonly workers: number;
  readonly bytes: Uint8Array;
}): Promise<Server> {
  const directory = newDirectory('node');
  const port = await freePort();
  const file = join(directory, 'body');
  writeFileSync(file, options.bytes);
  const args = [PROGRAM, String(port), String(options.workers), file];
  const server = await launch({ name: 'bare node:http', command: process.execPath, args, directory, port });
  return { ...server, authorize: nobody };
}
