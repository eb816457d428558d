import { randomBytes } from 'node:crypto';
import { Agent as HttpAgent, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { Unavailable } from '../../std/unavailable.ts';
import { exchange, readAtMost } from './exchange.ts';
import { unavailable, unavailableNow } from './failures.ts';
import { PROBES } from './layout.ts';
import { type Credentials, signedHeaders } from './sign.ts';

/** Keys that GhostBay's listing tells at most; it never says that there are more. */
export const LISTED_KEYS_MAX = 1000;
/** Connections of one process. A reader that is slow keeps one for as long as it reads. */
const CONNECTIONS_MAX = 256;
/** An object that is read into memory. */
const OBJECT_BYTES_MAX = 16 * 1024 * 1024;
const LISTING_BYTES_MAX = 4 * 1024 * 1024;
const ERROR_BYTES_MAX = 64 * 1024;
const ATTEMPTS_MAX = 3;
/** No further attempt is begun after this time. */
const ATTEMPTS_MILLISECONDS_MAX = 10_000;
const RETRY_MILLISECONDS = 200;
/** A probe this old was left by a process that died in the middle of it. */
const PROBE_AGE_MILLISECONDS_MAX = 60_000;
const neverAborted = new AbortController().signal;

export interface BucketOptions {
  /** `http://ghostbay:8080`. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly credentials: Credentials;
}

interface Ask {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  /** Empty for the bucket itself. */
  readonly key: string;
  readonly query?: string;
  readonly body?: readonly Uint8Array[];
  readonly signal: AbortSignal;
}

/** An object that is being read. */
export interface OpenedObject {
  /** As its head says; null when the answer has no length. */
  readonly sizeBytes: number | null;
  readonly answer: IncomingMessage;
}

/**
 * Single objects in one bucket, by what a GhostBay of 2025 can do. Requests are path style, bodies plain with their length,
 * answers wanted uncompressed; errors and lists are JSON. What fails is tried again within a budget of attempts and time,
 * then throws `Unavailable`.
 */
export class Bucket {
  readonly #options: BucketOptions;
  readonly #endpoint: URL;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(options: BucketOptions) {
    this.#options = options;
    this.#endpoint = new URL(options.endpoint);
    const Agent = this.#endpoint.protocol === 'https:' ? HttpsAgent : HttpAgent;
    this.#agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX, scheduling: 'lifo' });
  }

  /** The whole object in memory; null when there is none. */
  async get(key: string): Promise<Buffer | null> {
    return await this.#repeating(neverAborted, async () => {
      const answer = await this.#ask({ method: 'GET', key, signal: neverAborted });
      return answer === null ? null : await readAtMost(answer, OBJECT_BYTES_MAX);
    });
  }

  /** The object from its first byte: GhostBay's ranges are wrong bytes. Null when there is none. */
  async open(key: string, signal: AbortSignal): Promise<OpenedObject | null> {
    const answer = await this.#repeating(signal, () => this.#ask({ method: 'GET', key, signal }));
    if (answer === null) return null;
    const length = answer.headers['content-length'];
    return { sizeBytes: length === undefined ? null : Number(length), answer };
  }

  /**
   * Makes a new object. A key that may exist is deleted before: GhostBay answers 500 to a second put, after it has
   * exchanged the bytes. So does every further attempt, for nobody knows what became of the one before.
   */
  async put(
    key: string,
    body: readonly Uint8Array[],
    options: { readonly mayExist?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const signal = options.signal ?? neverAborted;
    let mayExist = options.mayExist ?? false;
    await this.#repeating(signal, async () => {
      if (mayExist) await this.#finish({ method: 'DELETE', key, signal });
      mayExist = true;
      await this.#finish({ method: 'PUT', key, body, signal });
    });
  }

  /** Absent: no effect. */
  async delete(key: string, signal: AbortSignal = neverAborted): Promise<void> {
    await this.#repeating(signal, () => this.#finish({ method: 'DELETE', key, signal }));
  }

  /** The first keys with this prefix in byte order, at most `LISTED_KEYS_MAX`. */
  async list(prefix: string): Promise<string[]> {
    const query = `list-type=2&max-keys=${LISTED_KEYS_MAX}&prefix=${encodeURIComponent(prefix)}`;
    return await this.#repeating(neverAborted, async () => {
      const answer = await this.#ask({ method: 'GET', key: '', query, signal: neverAborted });
      if (answer === null) throw this.#noBucket();
      const text = (await readAtMost(answer, LISTING_BYTES_MAX)).toString('utf8');
      return keysIn(text).filter((key) => key.startsWith(prefix));
    });
  }

  /** Writes and removes an object. */
  async probe(signal: AbortSignal): Promise<void> {
    const key = `${PROBES}${Date.now()}-${randomBytes(16).toString('hex')}`;
    await this.put(key, [Buffer.from('probe\n')], { signal });
    await this.delete(key, signal);
  }

  async removeOldProbes(): Promise<void> {
    for (const key of await this.list(PROBES)) {
      const writtenAt = Number.parseInt(key.slice(PROBES.length), 10);
      if (Date.now() - writtenAt > PROBE_AGE_MILLISECONDS_MAX) await this.delete(key);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #finish(ask: Ask): Promise<void> {
    const answer = await this.#ask(ask);
    if (answer === null) throw this.#noBucket();
    await readAtMost(answer, ERROR_BYTES_MAX);
  }

  /** Null for an object that is not there; every other failure throws. */
  async #ask(ask: Ask): Promise<IncomingMessage | null> {
    const { method, key, query = '', body = null, signal } = ask;
    const path = key === '' ? `/${this.#options.bucket}` : `/${this.#options.bucket}/${key}`;
    const { host } = this.#endpoint;
    const signed = signedHeaders({ method, host, path, query, at: new Date() }, this.#options.credentials);
    const answer = await exchange({
      url: new URL(query === '' ? path : `${path}?${query}`, this.#endpoint),
      method,
      headers: { ...signed, 'accept-encoding': 'identity' },
      body,
      agent: this.#agent,
      signal,
    });
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return answer;
    const code = codeIn((await readAtMost(answer, ERROR_BYTES_MAX)).toString('utf8'));
    if (status === 404 && code === 'NoSuchKey') return null;
    if (status === 404 && code === 'NoSuchBucket') throw this.#noBucket();
    if (status === 401 || status === 403) throw unavailable('GhostBay refuses the configured keys');
    const message = `GhostBay answers ${status}${code === null ? '' : ` ${code}`} to a ${method}`;
    throw status >= 500 || status === 429 ? unavailableNow(message) : unavailable(message);
  }

  async #repeating<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + ATTEMPTS_MILLISECONDS_MAX;
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        signal.throwIfAborted();
        const isOver = attempt === ATTEMPTS_MAX || performance.now() > deadline;
        if (isOver || !(error instanceof Unavailable) || !error.retryable) throw error;
      }
      await sleep(RETRY_MILLISECONDS * attempt);
    }
  }

  #noBucket(): Unavailable {
    const { bucket, endpoint } = this.#options;
    return unavailable(
      `there is no bucket "${bucket}" at ${endpoint}: make it with "ghostbay bucket create"`,
    );
  }
}

function codeIn(text: string): string | null {
  try {
    const { Code: code } = JSON.parse(text) as { Code?: unknown };
    return typeof code === 'string' && /^\w{1,64}$/.test(code) ? code : null;
  } catch {
    return null;
  }
}

function keysIn(text: string): string[] {
  try {
    const { Contents: contents } = JSON.parse(text) as { Contents: { Key: string }[] };
    return contents.map(({ Key: key }) => String(key));
  } catch (error) {
    throw unavailable('what GhostBay answers to a listing is not its JSON', error);
  }
}
