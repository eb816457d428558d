import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { requireTool } from '../../scripts/tools.ts';
import { startCluster } from '../harness/cluster.ts';
import { spawnDrift } from '../harness/spawn-drift.ts';
import { ON_NODES } from '../harness/stack.ts';

/** The official conformance program, newest text (`dev`), sparse indexes and authentication on. */
const RESULTS_DIRECTORY = resolve(`artefacts/conformance${ON_NODES ? '-nodes' : ''}`);

describe('conformance', () => {
  let registry: { readonly url: string; stop(): Promise<unknown> };

  before(async () => {
    const env = { DRIFT_USERS: 'admin:conformance-run', DRIFT_SPARSE_INDEXES: 'true' };
    if (ON_NODES) {
      registry = await startCluster({ env });
    } else {
      const drift = await spawnDrift({ env });
      registry = { url: drift.registryUrl, stop: () => drift.stop() };
    }
  });
  after(() => registry.stop());

  it('the official program, dev version with sparse indexes and authentication, passes every row', async () => {
    mkdirSync(RESULTS_DIRECTORY, { recursive: true });
    const { exitCode, output } = await runProgram(new URL(registry.url).host);
    const report = readFileSync(join(RESULTS_DIRECTORY, 'junit.xml'), 'utf8');
    const rows = readRows(report);
    const bad = rows.filter(({ status }) => status !== 'passed');
    assert.deepEqual(bad, [], output.slice(-4000));
    // The program counts groups as rows, too: 1,032 in all, of which these are the leaves.
    assert.ok(rows.length >= 830, `only ${rows.length} rows were run`);
    assert.match(report, /<testsuite [^>]*tests="1032" failures="0" errors="0"/);
    assert.doesNotMatch(report, /<(skipped|failure|error)\b/);
    assert.equal(exitCode, 0);
    const other = /\b(Skip|FAIL|Error|Disabled|Unknown)$/m.exec(output);
    assert.equal(
      other,
      null,
      other === null ? '' : output.slice(Math.max(0, other.index - 500), other.index + 200),
    );
  });
});

async function runProgram(registry: string): Promise<{ exitCode: number; output: string }> {
  const child = spawn(requireTool('conformance'), [], {
    cwd: RESULTS_DIRECTORY,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      OCI_REGISTRY: registry,
      OCI_TLS: 'disabled',
      OCI_REPO1: 'conformance/repo1',
      OCI_REPO2: 'conformance/repo2',
      OCI_USERNAME: 'admin',
      OCI_PASSWORD: 'conformance-run',
      OCI_VERSION: 'dev',
      OCI_DATA_SPARSE: 'true',
      OCI_RESULTS_DIR: RESULTS_DIRECTORY,
    },
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exitCode = await new Promise<number>((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) => done(code ?? 1));
  });
  return { exitCode, output };
}

function readRows(report: string): { name: string; status: string }[] {
  return [...report.matchAll(/<testcase\b([^>]*)>/g)].map((match) => {
    const attribute = (key: string) => new RegExp(`\\b${key}="([^"]*)"`).exec(match[1] ?? '')?.[1] ?? '';
    return { name: attribute('name'), status: attribute('status') };
  });
}
