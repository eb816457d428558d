import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * The compose file with what an engine without networks needs changed, and nothing else: the host's network in place of
 * published ports (it has the same ports), and the build context by its full path, since the copy stands elsewhere.
 */
export function adaptComposeFile(): string {
  const ports = /^ {4}ports:\n(?: {6}- .*\n)+/m;
  const changes: readonly (readonly [RegExp, string])[] = [
    [ports, '    network_mode: host\n'],
    [/^ {4}build: \.$/m, `    build: ${ROOT}`],
  ];
  let text = readFileSync(`${ROOT}docker-compose.yml`, 'utf8');
  if (!/"5000:5000"[^]*"5001:5001"/.test(ports.exec(text)?.[0] ?? '')) {
    throw new Error('docker-compose.yml does not publish the ports 5000 and 5001');
  }
  for (const [from, to] of changes) {
    if (!from.test(text)) throw new Error(`docker-compose.yml has no ${from}`);
    text = text.replace(from, () => to);
  }
  return text;
}
