import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Endpoint, User } from './client-world.ts';

/** Writes a `config.json` as `docker login` leaves it, which most clients read. `user` null: nobody is logged in. */
export function writeDockerConfig(directory: string, endpoint: Endpoint, user: User | null): string {
  mkdirSync(directory, { recursive: true });
  const auths =
    user === null
      ? {}
      : { [endpoint.host]: { auth: Buffer.from(`${user.name}:${user.password}`).toString('base64') } };
  const file = join(directory, 'config.json');
  writeFileSync(file, JSON.stringify({ auths }));
  return file;
}

/** How Go programs are told to trust an authority. */
export function trustEnvironment(endpoint: Endpoint): Record<string, string> {
  return endpoint.authorityFile === null ? {} : { SSL_CERT_FILE: endpoint.authorityFile };
}
