import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hash } from 'bcryptjs';
import { basic, identify, openAccessWorld } from '../../test/harness/access-world.ts';
import type { AuthConfig } from '../config/config.ts';
import { readConfiguredPeople } from './configured-people.ts';

async function withHtpasswd(content: string, work: (auth: AuthConfig) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'drift-htpasswd-'));
  const htpasswdFile = join(directory, 'htpasswd');
  try {
    await writeFile(htpasswdFile, content);
    await work({
      mode: 'basic',
      anonymousPull: [],
      users: [{ name: 'scoped', scopes: ['repository:a:pull'] }],
      htpasswdFile,
      accessTokenSeconds: 300,
      refreshTokenSeconds: 3600,
      service: 'registry.test',
    });
  } finally {
    await rm(directory, { recursive: true });
  }
}

const secrets = {
  passwords: new Map<string, string>(),
  databaseUrl: null,
  databaseReplicaUrls: [],
  ghostbay: null,
  databaseListenUrl: null,
  s3: null,
};

test('readConfiguredPeople, an htpasswd file and scopes for one of its users, gives both their rights', async () => {
  const bcrypt = (await hash('listedpw', 4)).replace('$2b$', '$2y$');
  await withHtpasswd(`listed:${bcrypt}\nscoped:${bcrypt}\n`, async (auth) => {
    await using world = await openAccessWorld();
    const access = await world.open({ people: readConfiguredPeople({ auth, secrets }) });
    const listed = await identify(access, basic('listed', 'listedpw'));
    const scoped = await identify(access, basic('scoped', 'listedpw'));
    const name = 'a' as Parameters<typeof access.guard.may>[2];
    assert.equal(access.guard.may(listed, 'delete', name), 'yes');
    assert.equal(access.guard.may(scoped, 'pull', name), 'yes');
    assert.equal(access.guard.may(scoped, 'push', name), 'no');
  });
});

test('readConfiguredPeople, a file with other hashes, throws and names file and lines', () =>
  withHtpasswd('ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n', async (auth) => {
    assert.throws(
      () => readConfiguredPeople({ auth, secrets }),
      /htpasswd: line 1: .*"ann" is neither bcrypt/,
    );
  }));
