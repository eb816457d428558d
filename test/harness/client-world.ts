import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CertificateAuthority, createCertificateAuthority } from './certificate-authority.ts';
import { startCluster } from './cluster.ts';
import { type SpawnedDrift, type SpawnOptions, spawnDrift } from './spawn-drift.ts';
import { ON_NODES } from './stack.ts';

export interface User {
  readonly name: string;
  readonly password: string;
}

export const ADMIN: User = { name: 'admin', password: 'correct-horse-battery' };
export const WRONG: User = { name: 'admin', password: 'not-the-password' };
/** May push to `ghost/demo` and nothing else, not even pull from it: the original README's example. */
export const PUSH_ONLY: User = { name: 'ci', password: 'tokenonly' };
export const PULL_ONLY: User = { name: 'reader', password: 'may-only-read' };

/** A running registry as a client meets it: a host and port, and an authority to trust where it speaks TLS. */
export interface Endpoint {
  readonly host: string;
  readonly url: string;
  readonly authorityFile: string | null;
}

export interface ClientWorld {
  readonly plain: Endpoint;
  readonly tls: Endpoint;
  /** A folder for the client's files. */
  readonly directory: string;
  stop(): Promise<void>;
}

/**
 * Two real registries, one of them with an own certificate, and the same four users on both. On nodes: one that is several
 * behind nginx, which speaks both ways.
 */
export async function startClientWorld(): Promise<ClientWorld> {
  const directory = mkdtempSync(join(tmpdir(), 'drift-client-'));
  const authority: CertificateAuthority = createCertificateAuthority();
  const server = authority.issue('registry', ['DNS:localhost', 'IP:127.0.0.1']);
  const users = {
    DRIFT_USERS: [ADMIN, PUSH_ONLY, PULL_ONLY].map(({ name, password }) => `${name}:${password}`).join(','),
    DRIFT_USER_SCOPES: `${PUSH_ONLY.name}=repository:ghost/demo:push;${PULL_ONLY.name}=repository:ghost/**:pull`,
  };
  const removeFiles = () => {
    authority.dispose();
    rmSync(directory, { recursive: true, force: true });
  };
  const started = await (ON_NODES ? startBehindNginx(users, server) : startAlone(users, server)).catch(
    (error: unknown) => {
      removeFiles();
      throw error;
    },
  );
  return {
    plain: endpoint(started.url, null),
    tls: endpoint(started.tlsUrl, authority.certificateFile),
    directory,
    stop: async () => {
      await started.stop();
      removeFiles();
    },
  };
}

interface Started {
  readonly url: string;
  readonly tlsUrl: string;
  stop(): Promise<void>;
}

type Certificate = ReturnType<CertificateAuthority['issue']>;

async function startAlone(users: Readonly<Record<string, string>>, server: Certificate): Promise<Started> {
  const certificate = { DRIFT_TLS_CERT: server.certificateFile, DRIFT_TLS_KEY: server.keyFile };
  const [plain, tls] = await startBoth([
    { env: users },
    // One worker has to do as well.
    { env: { ...users, ...certificate, DRIFT_WORKERS: '1' } },
  ]);
  return {
    url: plain.registryUrl,
    tlsUrl: tls.registryUrl,
    stop: async () => {
      await Promise.all([plain.stop(), tls.stop()]);
    },
  };
}

async function startBehindNginx(
  users: Readonly<Record<string, string>>,
  certificate: Certificate,
): Promise<Started> {
  const cluster = await startCluster({ env: users, certificate });
  return { url: cluster.url, tlsUrl: cluster.tlsUrl ?? '', stop: () => cluster.stop() };
}

/** Both or neither: what did start is stopped when the other did not. */
async function startBoth(
  options: readonly [SpawnOptions, SpawnOptions],
): Promise<[SpawnedDrift, SpawnedDrift]> {
  const [first, second] = await Promise.allSettled([spawnDrift(options[0]), spawnDrift(options[1])]);
  if (first.status === 'fulfilled' && second.status === 'fulfilled') return [first.value, second.value];
  for (const one of [first, second]) if (one.status === 'fulfilled') await one.value.stop();
  throw first.status === 'rejected' ? first.reason : (second as PromiseRejectedResult).reason;
}

function endpoint(address: string, authorityFile: string | null): Endpoint {
  // Clients treat `localhost` as a registry that may speak plain HTTP.
  const url = address.replace('127.0.0.1', 'localhost');
  return { host: new URL(url).host, url, authorityFile };
}
