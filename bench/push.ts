import { createHash, randomBytes } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';
import type { Server } from './servers/server.ts';

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';

type Headers = Readonly<Record<string, string>>;

export interface Image {
  readonly blobs: readonly { readonly digest: string; readonly bytes: Uint8Array }[];
  readonly manifest: Buffer;
}

/** One client with its own connection. */
export class Pusher {
  readonly #server: Server;
  readonly #headers: Headers;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(server: Server, headers: Headers) {
    this.#server = server;
    this.#headers = headers;
  }

  /** The requests of `docker push`: is it there? begin, send, finish; then the manifest. */
  async pushImage(repository: string, tag: string, image: Image): Promise<void> {
    for (const { digest, bytes } of image.blobs) {
      await this.#send('HEAD', `/v2/${repository}/blobs/${digest}`, [404, 200]);
      await this.pushBlob(repository, digest, bytes);
    }
    await this.putManifest(repository, tag, image.manifest);
  }

  async pushBlob(repository: string, digest: string, bytes: Uint8Array): Promise<void> {
    const started = await this.#send('POST', `/v2/${repository}/blobs/uploads/`, [202]);
    const type = { 'content-type': 'application/octet-stream' };
    const patched = await this.#send('PATCH', this.#place(started), [202], bytes, type);
    const place = this.#place(patched);
    const mark = place.includes('?') ? '&' : '?';
    await this.#send('PUT', `${place}${mark}digest=${digest}`, [201]);
  }

  async putManifest(repository: string, reference: string, bytes: Uint8Array): Promise<void> {
    const path = `/v2/${repository}/manifests/${reference}`;
    await this.#send('PUT', path, [201], bytes, { 'content-type': MANIFEST_TYPE });
  }

  close(): void {
    this.#agent.destroy();
  }

  #place(response: IncomingMessage): string {
    const url = new URL(response.headers.location ?? '', this.#server.url);
    return `${url.pathname}${url.search}`;
  }

  #send(
    method: string,
    path: string,
    expected: readonly number[],
    body: Uint8Array = new Uint8Array(0),
    extra: Headers = {},
  ): Promise<IncomingMessage> {
    const length = method === 'HEAD' ? {} : { 'content-length': String(body.length) };
    const headers = { ...this.#headers, ...length, ...extra };
    return new Promise((resolve, reject) => {
      const options = { method, headers, agent: this.#agent };
      const sent = request(`${this.#server.url}${path}`, options, (response) => {
        response.resume();
        response.on('error', reject).on('end', () => {
          if (expected.includes(response.statusCode ?? 0)) resolve(response);
          else reject(new Error(`${this.#server.name}: ${method} ${path} gave ${response.statusCode}`));
        });
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }
}

export function makeImage(layers: number, layerBytes: number): Image {
  const contents = Array.from({ length: layers }, () => randomBytes(layerBytes));
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: contents.map(digestOf) },
      history: [],
    }),
  );
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, digest: digestOf(config), size: config.length },
    layers: contents.map((bytes) => ({ mediaType: LAYER_TYPE, digest: digestOf(bytes), size: bytes.length })),
  };
  return {
    blobs: [...contents, config].map((bytes) => ({ digest: digestOf(bytes), bytes })),
    manifest: Buffer.from(JSON.stringify(manifest)),
  };
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
