import { USER_NAME_LENGTH_MAX } from './basic.ts';
import { isBcrypt } from './password-hash.ts';

export interface HtpasswdEntry {
  readonly name: string;
  readonly hash: string;
}

/** Lines. */
const HTPASSWD_ENTRIES_MAX = 10_000;

/**
 * Reads a file made by `htpasswd -B`. Only bcrypt is accepted, as in other registries: MD5, SHA-1 and crypt are no
 * protection. All bad lines are named at once; a sentence never holds more of a line than its user name.
 */
export function parseHtpasswd(text: string): {
  entries: readonly HtpasswdEntry[];
  problems: readonly string[];
} {
  const entries = new Map<string, HtpasswdEntry>();
  const problems: string[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0));
    const hash = line.slice(colon + 1);
    if (colon < 1 || name.length > USER_NAME_LENGTH_MAX) problems.push(`line ${index + 1}: not "name:hash"`);
    else if (!isBcrypt(hash))
      problems.push(`line ${index + 1}: ${name} has no bcrypt hash (make it with htpasswd -B)`);
    else if (entries.has(name)) problems.push(`line ${index + 1}: ${name} stands there twice`);
    else entries.set(name, { name, hash });
  }
  if (entries.size > HTPASSWD_ENTRIES_MAX) problems.push(`more than ${HTPASSWD_ENTRIES_MAX} users`);
  return { entries: [...entries.values()], problems };
}
