/** The line to PostgreSQL goes bad in every way that lines do: what each route answers, how soon, and after it is mended. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { RouteKind } from '../../src/http/v2/path.ts';
import { type Method, type RouteRow, V2_ROUTES } from '../../src/http/v2/route.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { type Fault, type FaultProxy, startFaultProxy } from '../harness/fault-proxy.ts';
import { type Postgres, startPostgres } from '../harness/postgres.ts';
import { ADMIN_HEADER, type StartedRegistry, startRegistry } from '../harness/start-registry.ts';

const REPOSITORY = 'ghost/app';
const CONNECT_SECONDS = 1;
const QUERY_SECONDS = 2;
/** A statement that is not answered, a connection that is not made, and what a busy machine adds. */
const ANSWER_MILLISECONDS_MAX = (QUERY_SECONDS + 2 * CONNECT_SECONDS + 3) * 1000;
/** When everybody knows that it is away. */
const KNOWN_MILLISECONDS_MAX = (CONNECT_SECONDS + 1.5) * 1000;
const MENDED_MILLISECONDS_MAX = 10_000;
/** Answered from the configuration alone. */
const WITHOUT_LEDGER = new Set(
  ['ping', 'discover', 'repositoryDiscover'].flatMap((kind) => [`GET ${kind}`, `HEAD ${kind}`]),
);

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const EMPTY = Buffer.from('{}');
const CONFIG = {
  mediaType: 'application/vnd.oci.empty.v1+json',
  digest: digestOf('sha256', EMPTY),
  size: EMPTY.length,
};
const MANIFEST = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST_TYPE, config: CONFIG, layers: [CONFIG] }),
);

const FAULTS: Readonly<Record<string, Fault>> = {
  'refuses connections': { kind: 'refuse' },
  'takes connections and says nothing': { kind: 'hang' },
  'resets after the first bytes of an answer': { kind: 'reset', direction: 'down', afterBytes: 1 },
  'resets after the first bytes of a request': { kind: 'reset', direction: 'up', afterBytes: 1 },
  'ends in the middle of an answer': { kind: 'truncate', afterBytes: 3 },
};

interface Asked {
  readonly name: string;
  readonly status: number;
  readonly retryAfter: string | null;
  readonly milliseconds: number;
}

describe('the database, away', () => {
  let postgres: Postgres;
  let line: FaultProxy;
  let registry: StartedRegistry;
  let digests: { readonly blob: string; readonly manifest: string };
  let upload: string;

  before(async () => {
    postgres = await startPostgres({ durable: false });
    line = await startFaultProxy({ protocol: 'tcp', targetPort: postgres.port });
    registry = await startRegistry({
      env: {
        DRIFT_DATABASE_BACKEND: 'postgres',
        DRIFT_DATABASE_URL: line.through(await postgres.createDatabase()),
        DRIFT_DATABASE_CONNECT_TIME: `${CONNECT_SECONDS}s`,
        DRIFT_DATABASE_QUERY_TIME: `${QUERY_SECONDS}s`,
        DRIFT_DATABASE_PARTITIONS: '2',
      },
    });
    digests = await pushSomething();
    const begun = await ask('POST', `/v2/${REPOSITORY}/blobs/uploads/`);
    upload = begun.location ?? '';
  });
  after(async () => {
    await registry.stop();
    await line[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
  });

  async function ask(method: string, path: string, body?: Uint8Array, type?: string) {
    const start = performance.now();
    const response = await fetch(new URL(path, registry.registryUrl), {
      method,
      headers: { Authorization: ADMIN_HEADER, ...(type === undefined ? {} : { 'Content-Type': type }) },
      ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }),
    });
    await response.arrayBuffer();
    const milliseconds = performance.now() - start;
    const { status, headers } = response;
    return {
      status,
      milliseconds,
      location: headers.get('Location'),
      retryAfter: headers.get('Retry-After'),
      digest: headers.get('Docker-Content-Digest'),
    };
  }

  async function pushSomething() {
    const blob = await pushBlob(EMPTY);
    const put = await ask('PUT', `/v2/${REPOSITORY}/manifests/v1`, MANIFEST, MANIFEST_TYPE);
    assert.equal(put.status, 201);
    return { blob, manifest: put.digest ?? '' };
  }

  async function pushBlob(bytes: Buffer): Promise<string> {
    const digest = digestOf('sha256', bytes);
    const path = `/v2/${REPOSITORY}/blobs/uploads/?digest=${digest}`;
    assert.equal((await ask('POST', path, bytes, 'application/octet-stream')).status, 201);
    return digest;
  }

  function pathOf({ pattern, kind }: RouteRow<RouteKind>): string {
    if (kind === 'upload') return upload;
    return pattern
      .replace('<name>', REPOSITORY)
      .replace('<digest>', kind === 'blob' ? digests.blob : digests.manifest)
      .replace('<reference>', 'v1');
  }

  /** Every method of every route of the table, at once. */
  function askEverything(): Promise<readonly Asked[]> {
    const requests = Object.values(V2_ROUTES).flatMap((each) => {
      const row = each as RouteRow<RouteKind>;
      return (Object.keys(row.methods) as Method[]).map(async (method) => {
        const isManifest = row.kind === 'manifest';
        const body = method === 'PUT' || method === 'PATCH' ? (isManifest ? MANIFEST : EMPTY) : undefined;
        const isClosing = method === 'PUT' && row.kind === 'upload';
        const path = isClosing ? `${upload}?digest=${digests.blob}` : pathOf(row);
        const type = isManifest ? MANIFEST_TYPE : undefined;
        return { name: `${method} ${row.kind}`, ...(await ask(method, path, body, type)) };
      });
    });
    assert.ok(requests.length > 20, `only ${requests.length} methods of routes`);
    return Promise.all(requests);
  }

  for (const [name, fault] of Object.entries(FAULTS)) {
    it(`every route, while the line to the database ${name}, is a timely 503, and well afterwards`, async () => {
      await line.set(fault);
      checkAway(await askEverything(), ANSWER_MILLISECONDS_MAX);
      checkAway(await askEverything(), KNOWN_MILLISECONDS_MAX);
      const ready = await fetch(new URL('/readyz', registry.consoleUrl));
      assert.equal(ready.status, 503);
      await line.set({ kind: 'pass' });
      const deadline = Date.now() + MENDED_MILLISECONDS_MAX;
      for (;;) {
        const answer = await ask('GET', `/v2/${REPOSITORY}/manifests/v1`);
        if (answer.status === 200) break;
        assert.equal(answer.status, 503);
        assert.ok(Date.now() < deadline, 'it does not come back');
      }
      for (const path of [`blobs/${digests.blob}`, `manifests/${digests.manifest}`, 'tags/list']) {
        assert.equal((await ask('GET', `/v2/${REPOSITORY}/${path}`)).status, 200, path);
      }
      await pushSomething();
    });
  }

  function checkAway(answers: readonly Asked[], millisecondsMax: number): void {
    for (const { name, status, retryAfter, milliseconds } of answers) {
      if (WITHOUT_LEDGER.has(name)) {
        assert.equal(status, 200, name);
        continue;
      }
      assert.equal(status, 503, name);
      assert.ok(Number(retryAfter) > 0, `${name} does not say when to come again`);
      assert.ok(milliseconds < millisecondsMax, `${name} took ${Math.round(milliseconds)} ms`);
    }
  }
});
