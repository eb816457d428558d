import { readFile } from 'node:fs/promises';
import type { Config } from '../config/config.ts';
import { parseHtpasswd } from './htpasswd.ts';
import type { ConfiguredPeople } from './user-directory.ts';

/** Everybody whom the configuration and its htpasswd file name; at the start and at each reload. */
export async function readConfiguredPeople({
  auth,
  secrets,
}: Pick<Config, 'auth' | 'secrets'>): Promise<ConfiguredPeople> {
  const { users, htpasswdFile } = auth;
  if (htpasswdFile === null) return { users, passwords: secrets.passwords, htpasswd: [] };
  const { entries, problems } = parseHtpasswd(await readFile(htpasswdFile, 'utf8'));
  if (problems.length > 0) throw new Error(`${htpasswdFile}: ${problems.join('; ')}`);
  return { users, passwords: secrets.passwords, htpasswd: entries };
}
