import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What to put before a command so that it finds `name` at `address`: it runs with an `/etc/hosts` of its own, in a mount
 * namespace of its own. The machine's file stays as it is.
 */
export function withHost(directory: string, name: string, address: string): readonly string[] {
  const file = join(directory, 'hosts');
  writeFileSync(file, `${address} ${name}\n${readFileSync('/etc/hosts', 'utf8')}`);
  const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
  return ['unshare', '--mount', '--propagation', 'private', '--', 'sh', '-c', script, file];
}
