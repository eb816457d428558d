import { readFileSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { parseHtpasswd } from '../config/users.ts';
import type { ConfiguredPeople } from './user-directory.ts';

/**
 * Everybody whom the configuration and its htpasswd file name; at the start and at each reload. Throws a sentence when the
 * file cannot be used.
 */
export function readConfiguredPeople(config: Pick<Config, 'auth' | 'secrets'>): ConfiguredPeople {
  const { users, htpasswdFile } = config.auth;
  const { passwords } = config.secrets;
  if (htpasswdFile === null) return { users, passwords, htpasswd: [] };
  const { hashes, problems } = parseHtpasswd(readFileSync(htpasswdFile, 'utf8'));
  const [first] = problems;
  if (first !== undefined) throw new Error(`${htpasswdFile}: line ${first.line}: ${first.message}`);
  return { users, passwords, htpasswd: [...hashes].map(([name, hash]) => ({ name, hash })) };
}

export function isAnyone(people: ConfiguredPeople): boolean {
  return people.users.length > 0 || people.htpasswd.length > 0;
}
