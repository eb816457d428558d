import { readFileSync } from 'node:fs';
import { parseHtpasswd } from '../access/htpasswd.ts';
import type { ConfiguredPeople } from '../access/user-directory.ts';
import type { Config } from '../config/config.ts';

/** Everybody that the configuration knows. Throws a sentence when the htpasswd file cannot be used. */
export function readPeople(config: Pick<Config, 'auth' | 'secrets'>): ConfiguredPeople {
  const { users, htpasswdFile } = config.auth;
  const { passwords } = config.secrets;
  if (htpasswdFile === null) return { users, passwords, htpasswd: [] };
  const { entries, problems } = parseHtpasswd(readFileSync(htpasswdFile, 'utf8'));
  if (problems.length > 0) throw new Error(`${htpasswdFile}: ${problems.join('; ')}`);
  return { users, passwords, htpasswd: entries };
}

export function isAnyone(people: ConfiguredPeople): boolean {
  return people.users.length > 0 || people.htpasswd.length > 0;
}
