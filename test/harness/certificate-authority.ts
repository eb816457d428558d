import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireTool } from '../../scripts/tools.ts';

export interface CertificateAuthority {
  /** Alone in its folder: some clients are given a folder, and take keys beside it for their own. */
  readonly certificateFile: string;
  /** A server certificate for these names (`DNS:…`, `IP:…`). */
  issue(name: string, subjects: readonly string[]): { certificateFile: string; keyFile: string };
  dispose(): void;
}

/** An own authority, as a company would have one: clients are told to trust it, nothing is switched off. */
export function createCertificateAuthority(): CertificateAuthority {
  const directory = mkdtempSync(join(tmpdir(), 'drift-ca-'));
  const file = (name: string) => join(directory, name);
  const certificateFile = join(directory, 'trust', 'ca.crt');
  mkdirSync(join(directory, 'trust'));
  const openssl = (...args: string[]) => execFileSync(requireTool('openssl'), args, { stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    file('ca.key'),
    '-out',
    certificateFile,
    '-days',
    '2',
    '-subj',
    '/CN=Drift test CA',
  );
  return {
    certificateFile,
    issue: (name, subjects) => {
      const [key, request, certificate, extensions] = ['key', 'csr', 'crt', 'ext'].map((ending) =>
        file(`${name}.${ending}`),
      ) as [string, string, string, string];
      openssl('req', ...newKey, '-keyout', key, '-out', request, '-subj', `/CN=${name}`);
      writeFileSync(extensions, `subjectAltName=${subjects.join(',')}\n`);
      openssl(
        'x509',
        '-req',
        '-in',
        request,
        '-CA',
        certificateFile,
        '-CAkey',
        file('ca.key'),
        '-CAserial',
        file('ca.srl'),
        '-CAcreateserial',
        '-days',
        '2',
        '-extfile',
        extensions,
        '-out',
        certificate,
      );
      return { certificateFile: certificate, keyFile: key };
    },
    dispose: () => rmSync(directory, { recursive: true, force: true }),
  };
}
