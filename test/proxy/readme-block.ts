import { readFileSync } from 'node:fs';

const README = new URL('../../README.md', import.meta.url);

/** The nginx block of the README as it stands. */
export function readmeBlock(): string {
  const [, block, ...others] = /^```nginx\n([\s\S]*?)^```/m.exec(readFileSync(README, 'utf8')) ?? [];
  if (block === undefined || others.length > 0) throw new Error('the README has no nginx block');
  return block;
}

/** The block of the original Drift, which people already have in place: no limits lifted, no Host towards the console. */
export const ORIGINAL_BLOCK = `
server {
  listen 443 ssl http2;
  server_name registry.example.com;

  ssl_certificate     /etc/letsencrypt/live/registry/fullchain.pem;
  ssl_certificate_key /etc/letsencrypt/live/registry/privkey.pem;

  location /v2/ {
    proxy_pass http://drift:5000;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-Proto $scheme;
  }

  location / {
    proxy_pass http://drift:5001; # UI
  }
}
`;

/** The only things that a test changes in a block: addresses and the paths of the certificate. Each stands in it. */
export function adaptBlock(
  block: string,
  here: {
    readonly listen: string;
    readonly registry: string;
    readonly console: string;
    readonly certificateFile: string;
    readonly keyFile: string;
  },
): string {
  const changes: readonly (readonly [string, string])[] = [
    ['listen 443 ', `listen ${here.listen} `],
    ['http://drift:5000;', `http://${here.registry};`],
    ['http://drift:5001;', `http://${here.console};`],
    ['/etc/letsencrypt/live/registry/fullchain.pem', here.certificateFile],
    ['/etc/letsencrypt/live/registry/privkey.pem', here.keyFile],
  ];
  let text = block;
  for (const [from, to] of changes) {
    if (text.split(from).length !== 2) throw new Error(`the nginx block does not have "${from}" once`);
    text = text.replace(from, () => to);
  }
  return text;
}
