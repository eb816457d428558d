import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import {
  type CertificateAuthority,
  createCertificateAuthority,
} from '../../test/harness/certificate-authority.ts';
import { openDoor } from '../../test/harness/door-world.ts';
import type { TlsConfig } from '../config/config.ts';

type Issued = ReturnType<CertificateAuthority['issue']>;

let authority: CertificateAuthority;
let first: Issued;
let second: Issued;
let directory: string;

before(() => {
  authority = createCertificateAuthority();
  first = authority.issue('first', ['DNS:localhost']);
  second = authority.issue('second', ['DNS:localhost']);
  directory = mkdtempSync(join(tmpdir(), 'drift-tls-'));
});

after(() => {
  authority.dispose();
  rmSync(directory, { recursive: true, force: true });
});

/** A configuration of its own files, holding this certificate. */
function install(name: string, issued: Issued): TlsConfig {
  const config = {
    certificateFile: join(directory, `${name}.crt`),
    keyFile: join(directory, `${name}.key`),
  };
  replace(config, issued);
  return config;
}

function replace(config: TlsConfig, issued: Issued): void {
  copyFileSync(issued.certificateFile, config.certificateFile);
  copyFileSync(issued.keyFile, config.keyFile);
}

async function servedName(
  port: number,
  options: { maxVersion?: 'TLSv1.1' | 'TLSv1.2' } = {},
): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  try {
    await once(socket, 'secureConnect');
    return String(socket.getPeerCertificate().subject.CN);
  } finally {
    socket.destroy();
  }
}

test('listen, with TLS, speaks 1.2 and refuses 1.1', async () => {
  await using world = await openDoor({ tls: install('versions', first) });
  assert.equal(await servedName(world.port, { maxVersion: 'TLSv1.2' }), 'first');
  await assert.rejects(servedName(world.port, { maxVersion: 'TLSv1.1' }));
});

test('reloadTls, new files, are served to new connections on both listeners', async () => {
  const tls = install('reload', first);
  await using world = await openDoor({ tls });
  assert.equal(await servedName(world.port), 'first');
  replace(tls, second);
  await world.listeners.reloadTls();
  assert.equal(await servedName(world.port), 'second');
  assert.equal(await servedName(world.consolePort), 'second');
});

test('reloadTls, a key of another certificate or no certificate at all, throws a sentence and keeps the old one', async () => {
  const tls = install('bad', first);
  await using world = await openDoor({ tls });
  copyFileSync(second.keyFile, tls.keyFile);
  await assert.rejects(world.listeners.reloadTls(), /cannot be used together/);
  writeFileSync(tls.certificateFile, 'nonsense');
  await assert.rejects(world.listeners.reloadTls(), /cannot be used together/);
  rmSync(tls.certificateFile);
  await assert.rejects(world.listeners.reloadTls(), /cannot be read/);
  assert.equal(await servedName(world.port), 'first');
});

test('listen, TLS files that change, are served without being told', async () => {
  const tls = install('watched', first);
  await using world = await openDoor({ tls });
  assert.equal(await servedName(world.port), 'first');
  replace(tls, second);
  while ((await servedName(world.port)) !== 'second') await new Promise(setImmediate);
  assert.ok(world.lines.some(({ msg }) => msg === 'TLS certificate reloaded'));
});
