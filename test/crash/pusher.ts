import assert from 'node:assert/strict';
import { type Answer, type Ask, CONFIG, IMAGE, LAYER, sha256, V2Client } from '../v2/v2-client.ts';
import { Expected } from './expected.ts';
import type { SeededRandom } from './seeded-random.ts';

type Headers = Readonly<Record<string, string>>;
const QUIET: Headers = {};

interface OpenUpload {
  readonly location: string;
  readonly bytes: Buffer;
  /** The last request may have ended it. */
  mayBeGone: boolean;
}

/** One client with a repository of its own, which remembers what it was told. */
export class Pusher {
  readonly repository: string;
  readonly expected = new Expected();
  readonly random: SeededRandom;
  readonly #contents = new Map<string, Buffer>();
  readonly #open = new Map<string, OpenUpload>();
  readonly #mayBeAway: boolean;
  #client: V2Client | null = null;
  #names = 0;

  /**
   * With `mayBeAway` the database dies too: a 503 is no answer (what was asked for may have happened or not), and an upload's
   * progress, which no 201 spoke of, goes with what the database had not yet written.
   */
  constructor(repository: string, random: SeededRandom, options: { readonly mayBeAway?: boolean } = {}) {
    this.repository = repository;
    this.random = random;
    this.#mayBeAway = options.mayBeAway ?? false;
  }

  connect(port: number): void {
    this.#client?.close();
    this.#client = new V2Client(port);
  }

  close(): void {
    this.#client?.close();
  }

  newBytes(): Buffer {
    const bytes = this.random.bytes(16 + this.random.integer(this.random.integer(8) === 0 ? 300_000 : 5_000));
    this.#contents.set(sha256(bytes), bytes);
    return bytes;
  }

  newTag(): string {
    this.#names += 1;
    return `t${this.#names}`;
  }

  key(kind: 'tag' | 'manifest' | 'blob', name: string): string {
    return `${kind} ${this.repository} ${name}`;
  }

  async send(method: string, path: string, headers: Headers, body?: Uint8Array): Promise<Answer> {
    assert.ok(this.#client !== null);
    const ask: Ask = { headers, ...(body === undefined ? {} : { body }) };
    const answer = await this.#client.send(method, path, ask);
    if (answer.status !== 503 || !this.#mayBeAway) return answer;
    assert.ok(Number(answer.headers['retry-after']) > 0, 'a 503 says when to come again');
    throw Object.assign(new Error(`503: ${answer.message}`), { code: 'EAWAY' });
  }

  /** Sends what changes these names, and believes the answer. */
  async change(
    changes: readonly (readonly [key: string, value: string | null])[],
    send: () => Promise<Answer>,
    status: number,
  ): Promise<void> {
    const attempt = this.expected.attempt(changes);
    const answer = await send();
    if (answer.status !== status) this.expected.refuse(attempt);
    assert.equal(answer.status, status, answer.message);
    this.expected.acknowledge(attempt);
  }

  async begin(bytes: Buffer, armed: Headers = QUIET): Promise<string> {
    const answer = await this.send('POST', `/v2/${this.repository}/blobs/uploads/`, armed);
    assert.equal(answer.status, 202, answer.message);
    const location = String(answer.headers.location);
    this.#open.set(location, { location, bytes, mayBeGone: false });
    return location;
  }

  async patch(location: string, part: Buffer, armed: Headers = QUIET): Promise<void> {
    const answer = await this.send('PATCH', location, armed, part);
    assert.equal(answer.status, 202, answer.message);
  }

  async finish(location: string, digest: string, last: Buffer, armed: Headers = QUIET): Promise<void> {
    this.#mayBeGone(location);
    const path = `${location}?digest=${digest}`;
    await this.change([[this.key('blob', digest), 'here']], () => this.send('PUT', path, armed, last), 201);
    this.#open.delete(location);
  }

  async cancel(location: string, armed: Headers): Promise<void> {
    this.#mayBeGone(location);
    const answer = await this.send('DELETE', location, armed);
    assert.equal(answer.status, 204, answer.message);
    this.#open.delete(location);
    assert.equal((await this.send('GET', location, QUIET)).status, 404, 'a cancelled upload is gone');
  }

  async pushBlob(bytes: Buffer, armed: Headers = QUIET): Promise<string> {
    const digest = sha256(bytes);
    const path = `/v2/${this.repository}/blobs/uploads/?digest=${digest}`;
    await this.change([[this.key('blob', digest), 'here']], () => this.send('POST', path, armed, bytes), 201);
    return digest;
  }

  /** A manifest whose blobs are pushed already. */
  async newManifest(): Promise<{ readonly digest: string; readonly bytes: Buffer }> {
    const parts = [this.newBytes(), this.newBytes()] as const;
    for (const part of parts) await this.pushBlob(part);
    const [config, layer] = parts.map((part) => ({ digest: sha256(part), size: part.length }));
    const manifest = {
      schemaVersion: 2,
      mediaType: IMAGE,
      config: { mediaType: CONFIG, ...config },
      layers: [{ mediaType: LAYER, ...layer }],
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const digest = sha256(bytes);
    this.#contents.set(digest, bytes);
    return { digest, bytes };
  }

  async pushManifest(
    manifest: { readonly digest: string; readonly bytes: Buffer },
    names: { readonly inPath: string; readonly tags: readonly string[] },
    armed: Headers = QUIET,
  ): Promise<void> {
    const tags = names.inPath.includes(':') ? names.tags : [names.inPath];
    const query = names.tags.map((tag) => `tag=${tag}`).join('&');
    const path = `/v2/${this.repository}/manifests/${names.inPath}${query === '' ? '' : `?${query}`}`;
    const headers = { ...armed, 'content-type': IMAGE };
    await this.change(
      [
        [this.key('manifest', manifest.digest), 'here'],
        ...tags.map((tag) => [this.key('tag', tag), manifest.digest] as const),
      ],
      () => this.send('PUT', path, headers, manifest.bytes),
      201,
    );
  }

  /** Goes on with every upload that the registry has acknowledged and that nothing ended. */
  async resumeUploads(): Promise<number> {
    let resumed = 0;
    for (const { location, bytes, mayBeGone } of this.#open.values()) {
      const status = await this.send('GET', location, QUIET);
      if ((mayBeGone || this.#mayBeAway) && status.status === 404) {
        this.#open.delete(location);
        continue;
      }
      assert.equal(status.status, 204, `${location}: ${status.message}`);
      const received = Number(String(status.headers.range).split('-')[1]) + 1;
      const offset = String(status.headers.range) === '0-0' ? 0 : received;
      assert.ok(offset <= bytes.length, `offset ${offset} of ${bytes.length}`);
      await this.patchFrom(location, bytes, offset);
      await this.finish(location, sha256(bytes), Buffer.alloc(0));
      resumed += 1;
    }
    return resumed;
  }

  /** Everything that was ever pushed under `keys`, read back to the last byte. */
  async readBack(keys: readonly string[]): Promise<ReadonlyMap<string, string | null>> {
    const found = new Map<string, string | null>();
    for (const key of keys) {
      const [kind = '', repository = '', name = ''] = key.split(' ');
      const kinds = kind === 'blob' ? 'blobs' : 'manifests';
      const answer = await this.send('GET', `/v2/${repository}/${kinds}/${name}`, QUIET);
      assert.ok(answer.status === 200 || answer.status === 404, `${key}: ${answer.status} ${answer.message}`);
      if (answer.status === 404) {
        found.set(key, null);
        continue;
      }
      const digest = sha256(answer.body);
      assert.equal(answer.headers['docker-content-digest'], digest, `${key} says its own digest`);
      if (kind !== 'tag') assert.equal(digest, name, `${key} has its digest`);
      assert.ok(this.#contents.get(digest)?.equals(answer.body), `${key} was pushed by somebody`);
      if (kinds === 'manifests') await this.#readBlobsOf(key, answer.body);
      found.set(key, kind === 'tag' ? digest : 'here');
    }
    return found;
  }

  async listedTags(): Promise<readonly string[]> {
    const answer = await this.send('GET', `/v2/${this.repository}/tags/list?n=10000`, QUIET);
    if (answer.status === 404) return [];
    assert.equal(answer.status, 200, answer.message);
    return answer.json.tags;
  }

  async patchFrom(location: string, bytes: Buffer, offset: number): Promise<void> {
    if (offset < bytes.length) await this.patch(location, bytes.subarray(offset));
  }

  async #readBlobsOf(key: string, manifest: Buffer): Promise<void> {
    const { config, layers } = JSON.parse(manifest.toString()) as {
      config: { digest: string };
      layers: { digest: string }[];
    };
    for (const { digest } of [config, ...layers]) {
      const answer = await this.send('GET', `/v2/${this.repository}/blobs/${digest}`, QUIET);
      assert.equal(answer.status, 200, `${key} is there, so its blob ${digest} is`);
      assert.equal(sha256(answer.body), digest, `blob ${digest} of ${key}`);
    }
  }

  #mayBeGone(location: string): void {
    const upload = this.#open.get(location);
    if (upload !== undefined) upload.mayBeGone = true;
  }
}
