import { createHash } from 'node:crypto';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { ON_NODES } from '../harness/stack.ts';

export interface Person {
  readonly name: string;
  readonly password: string;
}

export const ADMIN: Person = { name: 'admin', password: 'correct-horse-battery' };
/** Owns `ghost/**`. */
export const OWNER: Person = { name: 'owner', password: 'owner-of-ghost-repos' };
/** May push to `ghost/**` and nothing else. */
export const PUSHER: Person = { name: 'pusher', password: 'pushes-and-no-more' };
/** May pull `ghost/**`. */
export const PULLER: Person = { name: 'puller', password: 'pulls-and-no-more' };
/** May do everything with `other/**`. */
export const STRANGER: Person = { name: 'stranger', password: 'lives-in-other-repos' };

/** Every field of a JSON body that a test reads; each answer has a few of them. */
export interface Body {
  readonly errors: readonly { code: string; message: string; detail: { digests: readonly string[] } }[];
  readonly tags: readonly string[];
  readonly repositories: readonly string[];
  readonly manifests: readonly { digest: string }[];
  readonly extensions: readonly { name: string; endpoints: unknown }[];
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Name and value of each header as they came. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly json: Body;
  /** `code` of the first error. */
  readonly code: string | null;
  /** `message` of the first error, or nothing. */
  readonly message: string;
}

export interface Ask {
  readonly as?: Person | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** An iterable is sent chunked, without a length. */
  readonly body?: Uint8Array | string | Iterable<Uint8Array>;
}

/** Sends exactly the path it is given: nothing is normalised on the way. */
export class V2Client {
  readonly port: number;
  // nginx ends a connection whose answer came before the whole request, though it has promised to keep it.
  readonly #agent = new Agent({ keepAlive: !ON_NODES });

  constructor(port: number) {
    this.port = port;
  }

  close(): void {
    this.#agent.destroy();
  }

  send(method: string, path: string, ask: Ask = {}): Promise<Answer> {
    const person = ask.as === undefined ? ADMIN : ask.as;
    const headers: Record<string, string> = { ...ask.headers };
    if (person !== null && headers['authorization'] === undefined) headers['authorization'] = basic(person);
    const { body } = ask;
    const whole = body === undefined || typeof body === 'string' || body instanceof Uint8Array;
    const bytes = whole ? Buffer.from(body ?? '') : null;
    if (bytes !== null && headers['content-length'] === undefined && !['GET', 'HEAD'].includes(method)) {
      headers['content-length'] = String(bytes.length);
    }
    return new Promise((resolve, reject) => {
      const message = request(
        { host: '127.0.0.1', port: this.port, method, path, headers, agent: this.#agent },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('error', reject);
          response.on('end', () => {
            const { statusCode, headers: received, rawHeaders } = response;
            resolve(
              answerOf({ status: statusCode ?? 0, headers: received, rawHeaders }, Buffer.concat(parts)),
            );
          });
        },
      );
      message.on('error', reject);
      if (whole) message.end(bytes);
      else {
        for (const part of body) message.write(part);
        message.end();
      }
    });
  }

  async startUpload(repository: string, as: Person = ADMIN): Promise<string> {
    const answer = await this.send('POST', `/v2/${repository}/blobs/uploads/`, { as });
    return String(answer.headers.location);
  }

  async pushBlob(repository: string, bytes: Uint8Array, as: Person = ADMIN): Promise<string> {
    const digest = sha256(bytes);
    const location = await this.startUpload(repository, as);
    const answer = await this.send('PUT', `${location}?digest=${digest}`, { as, body: bytes });
    if (answer.status !== 201) throw new Error(`blob push: ${answer.status} ${answer.body.toString()}`);
    return digest;
  }

  /** Pushes an image of one layer, its blobs first. */
  async pushImage(
    repository: string,
    reference: string | null,
    options: {
      readonly content?: string;
      readonly subject?: object;
      readonly artifactType?: string;
      readonly as?: Person;
    } = {},
  ): Promise<{
    readonly digest: string;
    readonly bytes: Buffer;
    readonly layer: string;
    readonly config: string;
  }> {
    const as = options.as ?? ADMIN;
    const layerBytes = Buffer.from(`layer ${options.content ?? 'one'}`);
    const configBytes = Buffer.from(JSON.stringify({ content: options.content ?? 'one' }));
    const layer = await this.pushBlob(repository, layerBytes, as);
    const config = await this.pushBlob(repository, configBytes, as);
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: IMAGE,
        ...(options.artifactType === undefined ? {} : { artifactType: options.artifactType }),
        config: { mediaType: CONFIG, digest: config, size: configBytes.length },
        layers: [{ mediaType: LAYER, digest: layer, size: layerBytes.length }],
        ...(options.subject === undefined
          ? {}
          : { subject: options.subject, annotations: { note: options.content ?? 'one' } }),
      }),
    );
    const digest = sha256(bytes);
    const answer = await this.putManifest(repository, reference ?? digest, bytes, { as });
    if (answer.status !== 201) throw new Error(`manifest push: ${answer.status} ${answer.body.toString()}`);
    return { digest, bytes, layer, config };
  }

  putManifest(
    repository: string,
    reference: string,
    bytes: Uint8Array | string,
    ask: Ask & { readonly type?: string } = {},
  ): Promise<Answer> {
    const headers = { 'content-type': ask.type ?? IMAGE, ...ask.headers };
    return this.send('PUT', `/v2/${repository}/manifests/${reference}`, { ...ask, headers, body: bytes });
  }
}

export const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
export const INDEX = 'application/vnd.oci.image.index.v1+json';
export const CONFIG = 'application/vnd.oci.image.config.v1+json';
export const LAYER = 'application/vnd.oci.image.layer.v1.tar';

export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export function sha512(bytes: Uint8Array | string): string {
  return `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
}

export function basic(person: Person): string {
  return `Basic ${Buffer.from(`${person.name}:${person.password}`).toString('base64')}`;
}

export function indexOf(
  children: readonly { readonly digest: string; readonly size: number; readonly mediaType?: string }[],
): Buffer {
  const manifests = children.map((child) => ({ mediaType: IMAGE, ...child }));
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
}

function answerOf(
  head: {
    readonly status: number;
    readonly headers: IncomingHttpHeaders;
    readonly rawHeaders: readonly string[];
  },
  body: Buffer,
): Answer {
  const json =
    /json/.test(String(head.headers['content-type'])) && body.length > 0 ? JSON.parse(body.toString()) : null;
  return {
    ...head,
    body,
    json,
    code: json?.errors?.[0]?.code ?? null,
    message: json?.errors?.[0]?.message ?? '',
  };
}
