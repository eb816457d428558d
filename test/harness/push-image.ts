import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { HttpConnection } from './http-connection.ts';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}');

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

type Headers = Readonly<Record<string, string>>;

/** Pushes a blob in one request. */
export async function pushBlob(
  to: { readonly connection: HttpConnection; readonly repository: string; readonly headers: Headers },
  bytes: Uint8Array,
): Promise<string> {
  const digest = digestOf(bytes);
  const answer = await to.connection.ask(`/v2/${to.repository}/blobs/uploads/?digest=${digest}`, {
    method: 'POST',
    headers: { ...to.headers, 'Content-Type': 'application/octet-stream' },
    body: bytes,
  });
  assert.equal(answer.status, 201, answer.text);
  return digest;
}

/** Pushes the smallest image there is; resolves with the manifest's digest. */
export async function pushImage(
  to: { readonly connection: HttpConnection; readonly repository: string; readonly headers: Headers },
  tag: string,
): Promise<string> {
  const digest = await pushBlob(to, CONFIG);
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: CONFIG.length };
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers: [] });
  const answer = await to.connection.ask(`/v2/${to.repository}/manifests/${tag}`, {
    method: 'PUT',
    headers: { ...to.headers, 'Content-Type': MANIFEST_TYPE },
    body: manifest,
  });
  assert.equal(answer.status, 201, answer.text);
  return digestOf(Buffer.from(manifest));
}
