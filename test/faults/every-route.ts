import assert from 'node:assert/strict';
import type { RouteKind } from '../../src/http/v2/path.ts';
import { type Method, type RouteRow, V2_ROUTES } from '../../src/http/v2/route.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { ADMIN_HEADER, type StartedRegistry } from '../harness/start-registry.ts';

export const REPOSITORY = 'ghost/app';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const EMPTY = Buffer.from('{}');
const BLOB = digestOf('sha256', EMPTY);
const CONFIG = { mediaType: 'application/vnd.oci.empty.v1+json', digest: BLOB, size: EMPTY.length };
const MANIFEST = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST_TYPE, config: CONFIG, layers: [CONFIG] }),
);

/** What a GET answers. */
const PULLED: Partial<Record<RouteKind, Buffer>> = { blob: EMPTY, manifest: MANIFEST };

export interface Asked {
  /** Method and kind of the route: `GET blob`. */
  readonly name: string;
  readonly status: number;
  readonly retryAfter: string | null;
  readonly milliseconds: number;
}

/** Every method of every route of `/v2`, each with a request that would succeed if nothing were wrong. */
export class EveryRoute {
  readonly #registry: StartedRegistry;
  /** An upload with bytes for each request that goes to one: none of them waits for another. */
  readonly #uploads = new Map<string, string>();

  constructor(registry: StartedRegistry) {
    this.#registry = registry;
  }

  /** While nothing is wrong. */
  async prepare(): Promise<void> {
    await this.push();
    for (const method of Object.keys(V2_ROUTES.upload.methods)) {
      const begun = await this.#ask('POST', `/v2/${REPOSITORY}/blobs/uploads/`);
      assert.equal(begun.status, 202);
      const patched = await this.#ask('PATCH', begun.location ?? '', EMPTY);
      assert.equal(patched.status, 202);
      this.#uploads.set(method, begun.location ?? '');
    }
  }

  /** A blob and a manifest with the tag `v1`. */
  async push(): Promise<void> {
    const upload = `/v2/${REPOSITORY}/blobs/uploads/?digest=${BLOB}`;
    assert.equal((await this.#ask('POST', upload, EMPTY, 'application/octet-stream')).status, 201);
    const put = await this.#ask('PUT', `/v2/${REPOSITORY}/manifests/v1`, MANIFEST, MANIFEST_TYPE);
    assert.equal(put.status, 201);
  }

  /** What is pulled of it, each answered 200. */
  async pull(): Promise<void> {
    for (const [path, bytes] of [
      [`blobs/${BLOB}`, EMPTY],
      [`manifests/${digestOf('sha256', MANIFEST)}`, MANIFEST],
      ['tags/list', Buffer.from(JSON.stringify({ name: REPOSITORY, tags: ['v1'] }))],
    ] as const) {
      const answer = await this.#ask('GET', `/v2/${REPOSITORY}/${path}`);
      assert.equal(answer.status, 200, path);
      assert.ok(answer.bytes.equals(bytes), `${path}: ${answer.bytes.toString()}`);
    }
  }

  /** All of them at once. */
  async ask(): Promise<readonly Asked[]> {
    const requests = Object.values(V2_ROUTES).flatMap((each) => {
      const row = each as RouteRow<RouteKind>;
      return (Object.keys(row.methods) as Method[]).map((method) => this.#askOne(row, method));
    });
    assert.ok(requests.length > 20, `only ${requests.length} methods of routes`);
    return Promise.all(requests);
  }

  async #askOne(row: RouteRow<RouteKind>, method: Method): Promise<Asked> {
    const isManifest = row.kind === 'manifest';
    const body = method === 'PUT' || method === 'PATCH' ? (isManifest ? MANIFEST : EMPTY) : undefined;
    const answer = await this.#ask(
      method,
      this.#pathOf(row, method),
      body,
      isManifest ? MANIFEST_TYPE : null,
    );
    const name = `${method} ${row.kind}`;
    // Whatever is wrong behind it: what is answered as a success is right.
    const bytes = method === 'GET' && answer.status === 200 ? PULLED[row.kind] : undefined;
    if (bytes !== undefined) assert.ok(answer.bytes.equals(bytes), `${name}: ${answer.bytes.toString()}`);
    return { name, ...answer };
  }

  #pathOf({ pattern, kind }: RouteRow<RouteKind>, method: Method): string {
    if (kind === 'upload') {
      const location = this.#uploads.get(method) ?? '';
      const digest = digestOf('sha256', Buffer.concat([EMPTY, EMPTY]));
      return method === 'PUT' ? `${location}?digest=${digest}` : location;
    }
    // A delete takes nothing that the next round needs.
    const isDelete = method === 'DELETE';
    const absent = digestOf('sha256', Buffer.from('nothing has this digest'));
    return pattern
      .replace('<name>', REPOSITORY)
      .replace('<digest>', isDelete ? absent : BLOB)
      .replace('<reference>', isDelete ? 'absent' : 'v1');
  }

  async #ask(method: string, path: string, body?: Uint8Array, type: string | null = null) {
    const start = performance.now();
    const response = await fetch(new URL(path, this.#registry.registryUrl), {
      method,
      headers: { Authorization: ADMIN_HEADER, ...(type === null ? {} : { 'Content-Type': type }) },
      ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const { status, headers } = response;
    return {
      status,
      bytes,
      milliseconds: performance.now() - start,
      location: headers.get('Location'),
      retryAfter: headers.get('Retry-After'),
    };
  }
}

/** A 503 that says when to come again, in time. */
export function checkAway({ name, status, retryAfter, milliseconds }: Asked, millisecondsMax: number): void {
  assert.equal(status, 503, name);
  assert.ok(Number(retryAfter) > 0, `${name} does not say when to come again`);
  assert.ok(milliseconds < millisecondsMax, `${name} took ${Math.round(milliseconds)} ms`);
}

/** Asks again and again until it succeeds: nobody has to do anything for that. */
export async function untilMended(millisecondsMax: number, work: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + millisecondsMax;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
