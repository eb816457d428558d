import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';

const CHUNK_BYTES = 1024 * 1024;

/** Bytes that do not compress, the same for the same seed, made as they are read. */
export function* contentOf(seed: number, sizeBytes: number): Generator<Buffer> {
  const key = Buffer.alloc(32, seed);
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK_BYTES);
  for (let left = sizeBytes; left > 0; left -= CHUNK_BYTES) {
    yield cipher.update(zeros.subarray(0, Math.min(left, CHUNK_BYTES)));
  }
}

export function digestOfContent(seed: number, sizeBytes: number): string {
  const hash = createHash('sha256');
  for (const chunk of contentOf(seed, sizeBytes)) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

export interface LayerClient {
  readonly url: string;
  readonly authorization: string;
  readonly repository: string;
}

export interface Layer {
  readonly seed: number;
  readonly sizeBytes: number;
  readonly digest: string;
}

export function layerOf(seed: number, sizeBytes: number): Layer {
  return { seed, sizeBytes, digest: digestOfContent(seed, sizeBytes) };
}

/** One PATCH without a length, then a PUT that names the digest. */
export async function pushStreamed(client: LayerClient, layer: Layer): Promise<void> {
  const started = await send(client, 'POST', uploads(client), {});
  const patched = await send(client, 'PATCH', locationOf(started), { layer, chunked: true });
  expectStatus(patched, 202);
  expectStatus(await send(client, 'PUT', withDigest(locationOf(patched), layer), {}), 201);
}

/** All of it in the body of the PUT, with a length. */
export async function pushMonolithic(client: LayerClient, layer: Layer): Promise<void> {
  const started = await send(client, 'POST', uploads(client), {});
  expectStatus(await send(client, 'PUT', withDigest(locationOf(started), layer), { layer }), 201);
}

/** What comes back, as a digest of the bytes and their number. */
export async function pullDigest(
  client: LayerClient,
  layer: Layer,
): Promise<{ digest: string; sizeBytes: number }> {
  const message = open(client, 'GET', `/v2/${client.repository}/blobs/${layer.digest}`, {});
  message.end();
  const [response] = (await once(message, 'response')) as [IncomingMessage];
  expectStatus(response, 200);
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes };
}

interface Sent {
  readonly layer?: Layer;
  /** Without a length. */
  readonly chunked?: boolean;
}

async function send(
  client: LayerClient,
  method: string,
  target: string,
  sent: Sent,
): Promise<IncomingMessage> {
  const { layer, chunked = false } = sent;
  const length = layer === undefined ? 0 : layer.sizeBytes;
  const message = open(client, method, target, chunked ? {} : { 'content-length': String(length) });
  const answered = once(message, 'response') as Promise<[IncomingMessage]>;
  if (layer !== undefined) {
    for (const chunk of contentOf(layer.seed, layer.sizeBytes)) {
      if (!message.write(chunk)) await Promise.race([once(message, 'drain'), answered]);
    }
  }
  message.end();
  const [response] = await answered;
  response.resume();
  await once(response, 'end');
  return response;
}

function open(
  client: LayerClient,
  method: string,
  target: string,
  headers: Readonly<Record<string, string>>,
): ClientRequest {
  const type = { 'content-type': 'application/octet-stream' };
  return request(new URL(target, client.url), {
    method,
    agent: false,
    headers: { ...type, ...headers, authorization: client.authorization },
  });
}

function uploads(client: LayerClient): string {
  return `/v2/${client.repository}/blobs/uploads/`;
}

function locationOf(response: IncomingMessage): string {
  expectStatus(response, 202);
  return response.headers.location ?? '';
}

function withDigest(location: string, layer: Layer): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${layer.digest}`;
}

function expectStatus(response: IncomingMessage, status: number): void {
  if (response.statusCode !== status) throw new Error(`answered ${response.statusCode}, not ${status}`);
}
