import assert from 'node:assert/strict';
import { type Answer, CONFIG, IMAGE, LAYER, sha256, V2Client } from '../v2/v2-client.ts';
import { isCut } from './acts.ts';
import type { History } from './history.ts';
import { SeededRandom } from './seeded-random.ts';

/** What all clients share: the registry as it is now, the model, and the bytes of everything. */
export interface ModelWorld {
  readonly seed: number;
  readonly history: History;
  readonly contents: Map<string, Buffer>;
  readonly clients: ModelClient[];
  /** Resolves when there is a registry to talk to. */
  port(): Promise<number>;
}

interface Manifest {
  readonly digest: string;
  readonly bytes: Buffer;
}

type Step = readonly [share: number, run: (client: ModelClient) => Promise<void>];

const NAMES_MAX = 40;
/**
 * A connection that the primary hands to a worker at the moment this is killed is answered by nobody (node:cluster waits for
 * a dead worker's word): a client hangs up after a while and counts it as cut.
 */
const PATIENCE_MILLISECONDS = 20_000;

/** Writes to a repository of its own and reads those of all; what it does next depends on seed, name and step alone. */
export class ModelClient {
  readonly name: string;
  readonly #world: ModelWorld;
  #random = new SeededRandom(0);
  #http: V2Client | null = null;
  #tags: string[] = [];
  #blobs: string[] = [];
  /** Every key that this client ever wrote, for others to read. */
  readonly keys: string[] = [];
  #count = 0;

  constructor(world: ModelWorld, name: string) {
    this.#world = world;
    this.name = name;
  }

  /** A step that a killed worker or registry cuts off is over: what it may have done stays open in the model. */
  async step(number: number): Promise<void> {
    this.#random = new SeededRandom(
      this.#world.seed ^ (Number.parseInt(this.name.slice(1), 10) << 24) ^ number,
    );
    try {
      await this.#choose()(this);
    } catch (error) {
      if (!isCut(error)) {
        throw new Error(`${this.name}, step ${number}: ${String(error)}`, { cause: error });
      }
      this.disconnect();
    }
  }

  disconnect(): void {
    this.#http?.close();
    this.#http = null;
  }

  async readKey(key: string): Promise<void> {
    const [kind = '', repository = '', name = ''] = key.split(' ');
    if (kind === 'blob') await this.#readBlob(key, repository, name);
    else await this.#readManifest(key, repository, name);
  }

  #choose(): (client: ModelClient) => Promise<void> {
    const total = STEPS.reduce((sum, [share]) => sum + share, 0);
    let left = this.#random.integer(total);
    for (const [share, run] of STEPS) {
      if (left < share) return run;
      left -= share;
    }
    throw new RangeError('shares do not add up');
  }

  async readAnything(): Promise<void> {
    const { keys } = this.#random.pick(this.#world.clients);
    if (keys.length > 0) await this.readKey(this.#random.pick(keys.slice(-NAMES_MAX)));
  }

  async pushByTag(): Promise<void> {
    const moves = this.#tags.length > 0 && this.#random.integer(2) === 0;
    const tag = moves ? this.#random.pick(this.#tags) : this.#newName('t');
    const manifest = await this.#newManifest();
    await this.#putManifest(manifest, tag, [tag]);
  }

  async pushByDigest(): Promise<void> {
    const tags = [...new Set([this.#newName('t'), ...this.#tags.slice(0, 1)])];
    const manifest = await this.#newManifest();
    await this.#putManifest(
      manifest,
      `${manifest.digest}?${tags.map((tag) => `tag=${tag}`).join('&')}`,
      tags,
    );
  }

  async pushChunks(): Promise<void> {
    const bytes = this.#random.bytes(64 + this.#random.integer(20_000));
    const cut = this.#random.integer(bytes.length);
    const begun = await this.#expect(202, 'POST', `/v2/${this.name}/blobs/uploads/`);
    const location = String(begun.headers.location);
    await this.#expect(202, 'PATCH', location, bytes.subarray(0, cut));
    await this.#finish(location, bytes, bytes.subarray(cut));
  }

  async mount(): Promise<void> {
    const digest = this.#blobs.at(-1);
    if (digest === undefined) return;
    const target = `${this.name}-${this.#newName('m')}`;
    const path = `/v2/${target}/blobs/uploads/?mount=${digest}&from=${this.name}`;
    await this.#write([[`blob ${target} ${digest}`, 'here']], () => this.#expect(201, 'POST', path));
  }

  async deleteTag(): Promise<void> {
    const tag = this.#take(this.#tags);
    if (tag === null) return;
    const path = `/v2/${this.name}/manifests/${tag}`;
    await this.#write([[`tag ${this.name} ${tag}`, null]], () => this.#expect(202, 'DELETE', path));
  }

  /** Tags that mean it go with it; only manifests are taken that no tag means, so that the model needs no second thought. */
  async deleteManifest(): Promise<void> {
    const manifest = await this.#newManifest();
    await this.#putManifest(manifest, manifest.digest, []);
    const path = `/v2/${this.name}/manifests/${manifest.digest}`;
    const key = `manifest ${this.name} ${manifest.digest}`;
    await this.#write([[key, null]], () => this.#expect(202, 'DELETE', path));
    await this.readKey(key);
  }

  async deleteBlob(): Promise<void> {
    const digest = this.#take(this.#blobs);
    if (digest === null) return;
    const path = `/v2/${this.name}/blobs/${digest}`;
    await this.#write([[`blob ${this.name} ${digest}`, null]], () => this.#expect(202, 'DELETE', path));
  }

  async #newManifest(): Promise<Manifest> {
    const parts = [this.#random.bytes(128), this.#random.bytes(64 + this.#random.integer(8_000))];
    const descriptors = [];
    for (const part of parts) {
      const digest = sha256(part);
      const path = `/v2/${this.name}/blobs/uploads/?digest=${digest}`;
      this.#world.contents.set(digest, part);
      await this.#write([[`blob ${this.name} ${digest}`, 'here']], () =>
        this.#expect(201, 'POST', path, part),
      );
      descriptors.push({ digest, size: part.length });
    }
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: IMAGE,
        config: { mediaType: CONFIG, ...descriptors[0] },
        layers: [{ mediaType: LAYER, ...descriptors[1] }],
      }),
    );
    const digest = sha256(bytes);
    this.#world.contents.set(digest, bytes);
    return { digest, bytes };
  }

  async #putManifest(manifest: Manifest, reference: string, tags: readonly string[]): Promise<void> {
    const path = `/v2/${this.name}/manifests/${reference}`;
    this.#tags = this.#tags.filter((tag) => !tags.includes(tag));
    await this.#write(
      [
        [`manifest ${this.name} ${manifest.digest}`, 'here'],
        ...tags.map((tag) => [`tag ${this.name} ${tag}`, manifest.digest] as const),
      ],
      () => this.#expect(201, 'PUT', path, manifest.bytes),
    );
    // Names whose last change was cut off are read by all but written no more.
    this.#tags = [...tags, ...this.#tags].slice(0, NAMES_MAX);
  }

  async #finish(location: string, bytes: Buffer, last: Buffer): Promise<void> {
    const digest = sha256(bytes);
    this.#world.contents.set(digest, bytes);
    await this.#write([[`blob ${this.name} ${digest}`, 'here']], () =>
      this.#expect(201, 'PUT', `${location}?digest=${digest}`, last),
    );
    this.#blobs = [...this.#blobs, digest].slice(-NAMES_MAX);
  }

  async #write(
    changes: readonly (readonly [key: string, value: string | null])[],
    send: () => Promise<Answer>,
  ): Promise<void> {
    const { history } = this.#world;
    const begun = changes.map(([key, value]) => [key, history.begin(key, value)] as const);
    for (const [key] of changes) if (!this.keys.includes(key)) this.keys.push(key);
    await send();
    for (const [key, position] of begun) history.acknowledge(key, position);
  }

  async #readManifest(key: string, repository: string, name: string): Promise<void> {
    const from = this.#world.history.now(this.name, key);
    const method = this.#random.integer(3) === 0 ? 'HEAD' : 'GET';
    const answer = await this.#send(method, `/v2/${repository}/manifests/${name}`);
    assert.ok(answer.status === 200 || answer.status === 404, `${key}: ${answer.status} ${answer.message}`);
    const digest = String(answer.headers['docker-content-digest']);
    if (answer.status === 200 && method === 'GET') {
      assert.ok(
        this.#world.contents.get(digest)?.equals(answer.body),
        `${key}: other bytes than were pushed`,
      );
    }
    const value = answer.status === 404 ? null : key.startsWith('tag ') ? digest : 'here';
    this.#world.history.observe(this.name, key, value, from);
  }

  async #readBlob(key: string, repository: string, digest: string): Promise<void> {
    const bytes = this.#world.contents.get(digest) ?? assert.fail(digest);
    const start = this.#random.integer(bytes.length);
    const end = start + this.#random.integer(bytes.length - start);
    const from = this.#world.history.now(this.name, key);
    const answer = await this.#send('GET', `/v2/${repository}/blobs/${digest}`, undefined, {
      range: `bytes=${start}-${end}`,
    });
    assert.ok(answer.status === 206 || answer.status === 404, `${key}: ${answer.status} ${answer.message}`);
    if (answer.status === 206)
      assert.ok(bytes.subarray(start, end + 1).equals(answer.body), `${key}: other bytes`);
    this.#world.history.observe(this.name, key, answer.status === 206 ? 'here' : null, from);
  }

  async #expect(status: number, method: string, path: string, body?: Uint8Array): Promise<Answer> {
    const headers = path.includes('/manifests/') ? { 'content-type': IMAGE } : {};
    const answer = await this.#send(method, path, body, headers);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.body.toString()}`);
    return answer;
  }

  async #send(
    method: string,
    path: string,
    body?: Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const port = await this.#world.port();
    if (this.#http?.port !== port) {
      this.disconnect();
      this.#http = new V2Client(port);
    }
    const ask = { headers, ...(body === undefined ? {} : { body }) };
    const patience = setTimeout(() => this.disconnect(), PATIENCE_MILLISECONDS);
    try {
      return await (this.#http ?? assert.fail()).send(method, path, ask);
    } finally {
      clearTimeout(patience);
    }
  }

  #newName(kind: string): string {
    this.#count += 1;
    return `${kind}${this.#count}`;
  }

  #take(list: string[]): string | null {
    if (list.length === 0) return null;
    return list.splice(this.#random.integer(list.length), 1)[0] ?? null;
  }
}

const STEPS: readonly Step[] = [
  [68, (client) => client.readAnything()],
  [8, (client) => client.pushByTag()],
  [4, (client) => client.pushByDigest()],
  [6, (client) => client.pushChunks()],
  [5, (client) => client.mount()],
  [4, (client) => client.deleteTag()],
  [2, (client) => client.deleteManifest()],
  [3, (client) => client.deleteBlob()],
];
