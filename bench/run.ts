import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { GO_TOOLS } from '../scripts/tools.ts';
import { blobGet } from './claims/blob-get.ts';
import { downloadOne, downloadParallel } from './claims/download-large.ts';
import { lists } from './claims/lists.ts';
import { manifestGet } from './claims/manifest-get.ts';
import { memory } from './claims/memory.ts';
import { mixed } from './claims/mixed.ts';
import { nodesCpu, stackManifestGet, stackManifestsGet, stackRepositoriesGet } from './claims/nodes.ts';
import { pushImages } from './claims/push-images.ts';
import { s3Download, s3Memory, s3PushImages, s3Redirect, s3Upload } from './claims/s3.ts';
import { scaling } from './claims/scaling.ts';
import { start } from './claims/start.ts';
import { stored } from './claims/stored.ts';
import { uploadChunks, uploadStreamed, uploadWhole } from './claims/upload-large.ts';
import type { Claim, Result } from './measure.ts';
import { renderTable } from './table.ts';

/** `npm run bench [-- <claim>… --rounds 5 --seconds 5 --scale 1]`: measures, prints a table, writes `artefacts/bench.json`. */
const CLAIMS: readonly Claim[] = [
  manifestGet,
  blobGet,
  uploadWhole,
  uploadStreamed,
  uploadChunks,
  downloadOne,
  downloadParallel,
  pushImages,
  memory,
  lists,
  start,
  stored,
  mixed,
  s3Upload,
  s3Download,
  s3Redirect,
  s3PushImages,
  s3Memory,
  stackManifestGet,
  stackManifestsGet,
  stackRepositoriesGet,
  nodesCpu,
  scaling,
];
const OUTPUT = 'artefacts/bench.json';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    scale: { type: 'string', default: '1' },
  },
});
const unknown = positionals.filter((name) => !CLAIMS.some((claim) => claim.name === name));
if (unknown.length > 0) {
  console.error(
    `no such claim: ${unknown.join(', ')}; there are ${CLAIMS.map(({ name }) => name).join(', ')}`,
  );
  process.exit(2);
}

const options = {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  scale: Number(values.scale),
};
const results: Result[] = [];
for (const claim of CLAIMS) {
  const isAsked = positionals.length === 0 ? claim.onlyByName !== true : positionals.includes(claim.name);
  if (!isAsked) continue;
  // The titles say the full sizes.
  const title = options.scale === 1 ? claim.title : `${claim.title} (sizes × ${options.scale})`;
  const result = { claim: claim.name, title, ...(await claim.run(options)) };
  results.push(result);
  console.log(renderTable(result));
}
mkdirSync('artefacts', { recursive: true });
writeFileSync(OUTPUT, `${JSON.stringify({ machine: machine(), options, results }, null, 2)}\n`);
console.log(`written to ${OUTPUT}`);

function machine(): Readonly<Record<string, unknown>> {
  return {
    at: new Date().toISOString(),
    processors: cpus().length,
    model: cpus()[0]?.model ?? 'unknown',
    kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
    node: process.versions.node,
    distribution: GO_TOOLS.distribution.version,
    'docker-registry': debianVersion('docker-registry'),
    nginx: debianVersion('nginx'),
    wrk: debianVersion('wrk'),
  };
}

function debianVersion(name: string): string {
  try {
    return execFileSync('dpkg-query', ['-W', '-f', '${Version}', name], { encoding: 'utf8' });
  } catch {
    return 'unknown';
  }
}
