import { RegistryError } from '../../oci/error-codes.ts';
import { parseTag, type Tag } from '../../oci/reference.ts';
import { deleteManifest, deleteTag } from '../../registry/delete.ts';
import { pullManifest } from '../../registry/pull-manifest.ts';
import { type PushCondition, pushManifest } from '../../registry/push-manifest.ts';
import type { Call } from '../call.ts';
import { CONTENT_HEADERS, type Handler, matchesEtag, NO_BODY } from './desk.ts';

/** distribution-spec, end-3; for HEAD the same without its bytes. */
export const getManifest: Handler<'manifest'> = async (desk, call, route) => {
  const manifest = await pullManifest(desk.registry, route.repository, route.reference);
  call.note({ repository: route.repository, digest: manifest.digest });
  const headers: Record<string, string> = {
    ...CONTENT_HEADERS,
    'Docker-Content-Digest': manifest.digest,
    ETag: `"${manifest.digest}"`,
    'Cache-Control': 'private, no-cache',
  };
  if (matchesEtag(call.headers['if-none-match'], manifest.digest))
    return { status: 304, headers, body: NO_BODY };
  headers['Content-Type'] = manifest.mediaType;
  return { status: 200, headers, body: { kind: 'bytes', bytes: manifest.bytes } };
};

/** distribution-spec, end-7a and end-7b. */
export const putManifest: Handler<'manifest'> = async (desk, call, route) => {
  const { repository } = route;
  const tags = call.query.getAll('tag').map(requireTag);
  const bytes = await readManifest(call, desk.config.limits.manifestBytesMax);
  const pushed = await pushManifest(desk.registry, {
    repository,
    principal: call.caller.principal.name,
    reference: route.reference,
    tags,
    bytes,
    contentType: call.headers['content-type'] ?? null,
    condition: conditionOf(call),
  });
  call.note({ repository, digest: pushed.digest });
  return {
    status: 201,
    headers: {
      Location: `/v2/${repository}/manifests/${pushed.digest}`,
      'Docker-Content-Digest': pushed.digest,
      ...(pushed.subject === null ? {} : { 'OCI-Subject': pushed.subject }),
      ...(route.reference.kind === 'digest' && pushed.tags.length > 0 ? { 'OCI-Tag': pushed.tags } : {}),
    },
    body: NO_BODY,
  };
};

/** distribution-spec, end-9: a tag alone, or a manifest with all its tags. */
export const removeManifest: Handler<'manifest'> = async (desk, call, route) => {
  const { repository, reference } = route;
  const key = { repository, principal: call.caller.principal.name };
  call.note({ repository });
  if (reference.kind === 'tag') await deleteTag(desk.registry, key, reference.tag);
  else await deleteManifest(desk.registry, key, reference.digest);
  return { status: 202, headers: {}, body: NO_BODY };
};

function requireTag(text: string): Tag {
  const tag = parseTag(text);
  if (tag === null) throw new RegistryError('TAG_INVALID', null, { detail: { tag: text.slice(0, 256) } });
  return tag;
}

/** Refused by its announced length before a byte is read, and at the first byte too many when none was announced. */
async function readManifest(call: Call, bytesMax: number): Promise<Uint8Array> {
  const tooLarge = (): RegistryError =>
    new RegistryError('MANIFEST_TOO_LARGE', `this registry accepts manifests of at most ${bytesMax} bytes`);
  if (call.body.lengthBytes !== null && call.body.lengthBytes > bytesMax) throw tooLarge();
  if (call.body.empty) return new Uint8Array(0);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of call.body.chunks) {
    size += chunk.byteLength;
    if (size > bytesMax) throw tooLarge();
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks, size);
}

function conditionOf(call: Call): PushCondition {
  const match = call.headers['if-match'];
  const noneMatch = call.headers['if-none-match'];
  return { replaces: replacesOf(match), createsOnly: noneMatch?.trim() === '*' };
}

function replacesOf(header: string | undefined): PushCondition['replaces'] {
  if (header === undefined) return null;
  if (header.trim() === '*') return 'anything';
  // `If-Match` compares strongly: a weak tag never matches (RFC 9110, 13.1.1).
  return new Set(header.split(',').map((item) => item.trim().replace(/^"(.*)"$/, '$1')));
}
