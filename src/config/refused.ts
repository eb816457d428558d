/** Names of the original program whose feature does not exist here (yet): refused with the reason, never ignored. */
export interface RefusedName {
  /** In drift.toml: the key or the table. */
  readonly paths: readonly string[];
  /** In the environment; a name that ends in `_` stands for all names that begin so. */
  readonly env: readonly string[];
  readonly reason: string;
}

export const REFUSED: readonly RefusedName[] = [
  { paths: ['oidc', 'auth.oidc'], env: ['DRIFT_OIDC_'], reason: notPart('sign-in by OpenID Connect') },
  {
    paths: ['auth.oauth', 'oauth'],
    env: ['DRIFT_OAUTH_', 'DRIFT_AZURE_', 'DRIFT_GITHUB_', 'DRIFT_GOOGLE_'],
    reason: notPart('sign-in by OAuth providers'),
  },
  { paths: ['token', 'auth.token'], env: ['DRIFT_TOKEN_'], reason: notPart('an external token issuer') },
  {
    paths: ['auth.jwt_secret'],
    env: ['DRIFT_AUTH_JWT_SECRET', 'DRIFT_JWT_SECRET'],
    reason:
      'tokens are signed with keys that Drift makes, keeps and rotates itself; there is no shared secret to set',
  },
  {
    paths: ['ghostbay.enable_s3_compat', 'ghostbay.storage_engine', 'ghostbay.max_object_size_gb'],
    env: ['DRIFT_GHOSTBAY_ENABLE_S3_COMPAT', 'DRIFT_GHOSTBAY_MAX_OBJECT_SIZE_GB'],
    reason: 'GhostBay has no such setting for its clients; limits.blob_size bounds what is pushed',
  },
  { paths: ['database.zqlite_url'], env: ['DRIFT_DATABASE_ZQLITE_URL'], reason: notPart('zqlite') },
  { paths: ['quic', 'quic_fabric'], env: ['DRIFT_QUIC_'], reason: notPart('the QUIC transport') },
  { paths: ['rbac'], env: ['DRIFT_RBAC_'], reason: notPart('role-based access control') },
  {
    paths: ['cluster'],
    env: ['DRIFT_CLUSTER_'],
    reason:
      'nodes are whoever shares one PostgreSQL and one store, and need no list of each other; server.node_name names one',
  },
  { paths: ['replication'], env: ['DRIFT_REPLICATION_'], reason: notPart('replication') },
  { paths: ['signing'], env: ['DRIFT_SIGNING_'], reason: notPart('enforcing signatures') },
  { paths: ['cache'], env: ['DRIFT_CACHE_', 'DRIFT_REDIS_'], reason: notPart('an external cache') },
  { paths: ['bolt'], env: ['DRIFT_BOLT_'], reason: notPart('the Bolt profile and plugin service') },
  {
    paths: ['garbage_collector'],
    env: ['DRIFT_GC_', 'DRIFT_GARBAGE_COLLECTOR_'],
    reason: notPart('the garbage collector'),
  },
  { paths: ['optimization'], env: ['DRIFT_OPTIMIZATION_'], reason: notPart('recompressing layers') },
  { paths: ['audit'], env: ['DRIFT_AUDIT_'], reason: notPart('the audit log') },
  {
    paths: ['registry.rate_limit_per_hour'],
    env: ['DRIFT_RATE_LIMIT_PER_HOUR'],
    reason: notPart('limiting requests per hour'),
  },
  {
    paths: ['metrics'],
    env: ['DRIFT_METRICS_'],
    reason: 'metrics are always served at /metrics; there is nothing to set',
  },
];

function notPart(feature: string): string {
  return `${feature} is not part of this version`;
}

export function refusedPath(path: string): RefusedName | null {
  return (
    REFUSED.find(({ paths }) => paths.some((name) => path === name || path.startsWith(`${name}.`))) ?? null
  );
}

export function refusedEnv(name: string): RefusedName | null {
  const matches = (known: string) =>
    known.endsWith('_') ? name.startsWith(known) : name === known || name === `${known}_FILE`;
  return REFUSED.find(({ env }) => env.some(matches)) ?? null;
}
