import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { requireTool } from '../../scripts/tools.ts';
import type { DockerEngine } from '../harness/docker-engine.ts';
import { ImageRoot } from './image-root.ts';

/** As in the official image. */
const POSTGRES_USER_ID = 999;
const DATA = '/var/lib/postgresql/data';

/** What the official image makes of its variables. */
const POSTGRES_ENTRYPOINT = `#!/bin/sh
set -e
if [ ! -s ${DATA}/PG_VERSION ]; then
  (umask 077; echo "$POSTGRES_PASSWORD" > /tmp/password)
  initdb --pgdata ${DATA} --username "$POSTGRES_USER" --pwfile /tmp/password --auth-host scram-sha-256
  rm /tmp/password
  echo "create database $POSTGRES_DB" | postgres --single -D ${DATA} postgres
  echo 'host all all all scram-sha-256' >> ${DATA}/pg_hba.conf
fi
exec postgres -D ${DATA} -c listen_addresses='*' -c unix_socket_directories=/tmp
`;

/** The official image has the real one, which knows this server as `local`. */
const MC = `#!/bin/sh
[ "$*" = 'ready local' ] && exec curl --fail --silent http://127.0.0.1:9000/minio/health/cluster
`;

const NGINX_CONF = `user root;
events {}
http {
  include /etc/nginx/conf.d/*.conf;
}
`;

/** The images that a compose file names beside Drift's own, made of the same programs that other tests start. */
export async function importServiceImages(
  engine: DockerEngine,
  tags: { readonly postgres: string; readonly minio: string; readonly nginx: string },
): Promise<void> {
  await importPostgres(engine, tags.postgres);
  await importMinio(engine, tags.minio);
  await importNginx(engine, tags.nginx);
}

async function importPostgres(engine: DockerEngine, tag: string): Promise<void> {
  const bin = dirname(requireTool('initdb'));
  const shared = execFileSync(join(bin, 'pg_config'), ['--sharedir'], { encoding: 'utf8' }).trim();
  using root = new ImageRoot(['sh', 'rm']);
  // Its compiler needs a library larger than all the rest.
  root.copy(dirname(bin), undefined, (path) => !/llvmjit|bitcode/.test(path));
  for (const name of ['initdb', 'postgres', 'pg_isready']) root.linkedWith(join(bin, name));
  root.copy(shared);
  root.copy('/usr/share/zoneinfo');
  root.file('/etc/passwd', `postgres:x:${POSTGRES_USER_ID}:${POSTGRES_USER_ID}::/tmp:/bin/sh\n`);
  root.file('/entrypoint.sh', POSTGRES_ENTRYPOINT, 0o755);
  root.directory(DATA, { mode: 0o700, owner: POSTGRES_USER_ID });
  await root.import(engine, tag, [
    `ENV PATH=${bin}:/usr/bin`,
    `USER ${POSTGRES_USER_ID}`,
    `VOLUME ${DATA}`,
    'ENTRYPOINT ["/entrypoint.sh"]',
  ]);
}

async function importMinio(engine: DockerEngine, tag: string): Promise<void> {
  using root = new ImageRoot(['sh', 'mkdir', 'curl', requireTool('minio')]);
  root.file('/usr/bin/mc', MC, 0o755);
  await root.import(engine, tag, ['ENV PATH=/usr/bin', 'VOLUME /data']);
}

async function importNginx(engine: DockerEngine, tag: string): Promise<void> {
  using root = new ImageRoot([requireTool('nginx')]);
  for (const path of ['/var/lib/nginx', '/var/log/nginx', '/run']) root.directory(path);
  root.file('/etc/nginx/nginx.conf', NGINX_CONF);
  await root.import(engine, tag, ['ENV PATH=/usr/bin', 'CMD ["nginx", "-g", "daemon off;"]']);
}
