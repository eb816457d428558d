import { readFileSync } from 'node:fs';
import { freePort } from './free-port.ts';
import { startNginx } from './nginx.ts';
import { NODES } from './stack.ts';

/** Ports of one node, on 127.0.0.1. */
export interface NodePorts {
  readonly registry: number;
  readonly console: number;
}

export interface Certificate {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** A real nginx that gives each request to the next node, configured as operators are told to. */
export interface Balancer {
  readonly port: number;
  /** Without a trailing slash. */
  readonly url: string;
  /** Null without a certificate. */
  readonly tlsUrl: string | null;
  /** Gives this one nothing from now on; null: all take part. Resolves when it holds. */
  leaveOut(index: number | null): Promise<void>;
  stop(): Promise<void>;
}

/** `nodes`: as many as the configuration has. */
export async function startBalancer(
  nodes: readonly NodePorts[],
  options: { readonly certificate?: Certificate | undefined } = {},
): Promise<Balancer> {
  if (nodes.length !== NODES) throw new Error(`the nginx configuration is for ${NODES} nodes`);
  const here = { port: await freePort(), tlsPort: await freePort(), certificate: options.certificate };
  const nginx = await startNginx({
    serverBlock: adaptConfiguration(nodes, here, null),
    host: '127.0.0.1',
    port: here.port,
  });
  return {
    port: here.port,
    url: `http://127.0.0.1:${here.port}`,
    tlsUrl: here.certificate === undefined ? null : `https://127.0.0.1:${here.tlsPort}`,
    leaveOut: (index) => nginx.reload(adaptConfiguration(nodes, here, index)),
    stop: () => nginx.stop(),
  };
}

const CONFIGURATION = new URL('../../deploy/nginx-scale-out.conf', import.meta.url);

/** The configuration that operators get, with addresses of here and one more to listen at. Each stands in it once. */
function adaptConfiguration(
  nodes: readonly NodePorts[],
  here: { readonly port: number; readonly tlsPort: number; readonly certificate: Certificate | undefined },
  leftOut: number | null,
): string {
  const { port, tlsPort, certificate } = here;
  const tls =
    certificate === undefined
      ? ''
      : `listen 127.0.0.1:${tlsPort} ssl; ssl_certificate ${certificate.certificateFile}; ssl_certificate_key ${certificate.keyFile};`;
  const changes: readonly (readonly [string, string])[] = [
    ['listen 80;', `listen 127.0.0.1:${port}; ${tls}`],
    ...nodes.flatMap(({ registry, console }, index) => {
      const down = index === leftOut ? ' down' : '';
      return [
        [`server drift-${index + 1}:5000;`, `server 127.0.0.1:${registry}${down};`] as const,
        [`server drift-${index + 1}:5001;`, `server 127.0.0.1:${console}${down};`] as const,
      ];
    }),
  ];
  let text = readFileSync(CONFIGURATION, 'utf8');
  for (const [from, to] of changes) {
    if (text.split(from).length !== 2)
      throw new Error(`the nginx configuration does not have "${from}" once`);
    text = text.replace(from, () => to);
  }
  return text;
}
