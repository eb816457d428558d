import type { Descriptor } from './descriptor.ts';
import {
  isJsonObject,
  manifestInvalid,
  optionalAnnotations,
  optionalMediaType,
  parseDescriptor,
  quote,
} from './descriptor.ts';
import type { Digest } from './digest.ts';
import { RegistryError } from './error-codes.ts';
import { scanManifest } from './manifest-scan.ts';
import type { ManifestMediaType } from './media-types.ts';
import {
  isForeignLayer,
  isIndexMediaType,
  isManifestMediaType,
  isSchema1,
  OCI_ARTIFACT_MANIFEST,
  OCI_INDEX,
  OCI_MANIFEST,
  withoutParameters,
} from './media-types.ts';

export interface ManifestReferenceDraft {
  /** `foreign`: a layer that need not be here. Whether a `child` is a manifest or a blob only the ledger knows. */
  readonly kind: 'config' | 'layer' | 'child' | 'foreign' | 'subject';
  /** Index in the list that it stands in (`layer` and `foreign` share `layers`), so kind and position are unique. */
  readonly position: number;
  readonly target: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
}

export interface ParsedManifest {
  readonly kind: 'image' | 'index';
  readonly mediaType: ManifestMediaType;
  /** As the referrers list shows it: an image manifest without one has the media type of its config. */
  readonly artifactType: string | null;
  readonly subject: Descriptor | null;
  /** Without a prototype. */
  readonly annotations: Readonly<Record<string, string>> | null;
  readonly references: readonly ManifestReferenceDraft[];
}

export interface ManifestInput {
  readonly bytes: Uint8Array;
  readonly contentType: string | null;
  readonly limits: { readonly bytesMax: number; readonly descriptorsMax: number };
}

const REFUSED_SCHEMA1 = 'Docker image manifests of schema 1 are not supported: push schema 2 or OCI';
const REFUSED_ARTIFACT =
  'OCI artifact manifests never became part of the image-spec: push an image manifest with an artifactType';

/**
 * Reads a pushed manifest; the bytes are kept as they came. Throws `MANIFEST_INVALID` with a sentence for the person who
 * pushed it, and `MANIFEST_TOO_LARGE`. Unknown fields are kept and ignored, and an optional field may be null.
 */
export function parseManifest(input: ManifestInput): ParsedManifest {
  const document = parseDocument(input.bytes, input.limits.bytesMax);
  const mediaType = decideMediaType(document, input.contentType);
  checkSchemaVersion(document['schemaVersion']);
  const kind = isIndexMediaType(mediaType) ? 'index' : 'image';
  checkShape(document, kind, mediaType);
  checkDescriptorCount(document, input.limits.descriptorsMax);

  const references = kind === 'image' ? imageReferences(document) : indexReferences(document);
  const subject = isPresent(document['subject']) ? parseDescriptor(document['subject'], 'subject') : null;
  if (subject !== null) references.push(reference('subject', 0, subject));
  const config = references.find((entry) => entry.kind === 'config');
  return {
    kind,
    mediaType,
    artifactType: optionalMediaType(document['artifactType'], 'artifactType') ?? config?.mediaType ?? null,
    subject,
    annotations: optionalAnnotations(document['annotations'], 'annotations'),
    references,
  };
}

function parseDocument(bytes: Uint8Array, bytesMax: number): Record<string, unknown> {
  if (bytes.length > bytesMax) {
    throw new RegistryError('MANIFEST_TOO_LARGE', `a manifest may have at most ${bytesMax} bytes`);
  }
  const text = decodeText(bytes);
  scanManifest(text);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    const problem = error instanceof SyntaxError ? error.message : 'unreadable';
    throw manifestInvalid(`the manifest is not JSON: ${problem}`);
  }
  if (!isJsonObject(document)) throw manifestInvalid('the manifest is not a JSON object');
  return document;
}

function decodeText(bytes: Uint8Array): string {
  if (bytes.length === 0) throw manifestInvalid('the manifest is empty');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw manifestInvalid('the manifest is not UTF-8');
  }
  // RFC 8259, 8.1: no byte order mark; Go refuses it too.
  if (text.startsWith('\uFEFF')) throw manifestInvalid('the manifest starts with a byte order mark');
  return text;
}

/**
 * The body's `mediaType` must be the `Content-Type` (distribution-spec, "Pushing Manifests"): bytes that two clients read as
 * two types are CVE-2021-41190.
 */
function decideMediaType(document: Record<string, unknown>, contentType: string | null): ManifestMediaType {
  const declared = contentType === null ? '' : withoutParameters(contentType);
  const inBody = optionalMediaType(document['mediaType'], 'mediaType');
  for (const type of [declared, inBody ?? '']) {
    if (isSchema1(type)) throw manifestInvalid(REFUSED_SCHEMA1);
    if (type === OCI_ARTIFACT_MANIFEST) throw manifestInvalid(REFUSED_ARTIFACT);
  }
  if (document['schemaVersion'] === 1) throw manifestInvalid(REFUSED_SCHEMA1);
  if (declared !== '' && inBody !== null && declared !== inBody) {
    throw manifestInvalid(`the Content-Type is ${quote(declared)}, but mediaType is ${quote(inBody)}`);
  }
  const mediaType = declared === '' ? (inBody ?? detectMediaType(document)) : declared;
  if (!isManifestMediaType(mediaType)) {
    throw manifestInvalid(`${quote(mediaType)} is not the media type of a manifest that this registry knows`);
  }
  return mediaType;
}

/** Some clients cannot name what they push. */
function detectMediaType(document: Record<string, unknown>): ManifestMediaType {
  if (isPresent(document['manifests'])) return OCI_INDEX;
  if (isPresent(document['config'])) return OCI_MANIFEST;
  throw manifestInvalid('the manifest has no media type, no config and no manifests');
}

function checkSchemaVersion(value: unknown): void {
  if (!isPresent(value)) throw manifestInvalid('schemaVersion is missing');
  if (value !== 2) throw manifestInvalid('schemaVersion is not 2');
}

function checkShape(document: Record<string, unknown>, kind: 'image' | 'index', mediaType: string): void {
  const image = ['config', 'layers'].filter((key) => isPresent(document[key]));
  const index = isPresent(document['manifests']);
  if (index && image.length > 0) throw manifestInvalid(`the manifest has both manifests and ${image[0]}`);
  if (kind === 'image' && index) throw manifestInvalid(`a manifest of type ${mediaType} has no manifests`);
  if (kind === 'index' && image.length > 0) {
    throw manifestInvalid(`a manifest of type ${mediaType} has no ${image[0]}`);
  }
  for (const key of ['layers', 'manifests']) {
    if (isPresent(document[key]) && !Array.isArray(document[key]))
      throw manifestInvalid(`${key} is not a list`);
  }
  if (kind === 'image' && !isPresent(document['config'])) throw manifestInvalid('config is missing');
}

/** Before any of them is looked at. */
function checkDescriptorCount(document: Record<string, unknown>, descriptorsMax: number): void {
  const single = ['config', 'subject'].filter((key) => isPresent(document[key])).length;
  const count = single + listOf(document['layers']).length + listOf(document['manifests']).length;
  if (count > descriptorsMax) {
    throw manifestInvalid(`the manifest has ${count} descriptors; at most ${descriptorsMax} are accepted`);
  }
}

function imageReferences(document: Record<string, unknown>): ManifestReferenceDraft[] {
  const config = parseDescriptor(document['config'], 'config');
  const layers = listOf(document['layers']).map((value, position) => {
    const layer = parseDescriptor(value, `layers[${position}]`);
    const isForeign = layer.urls.length > 0 || isForeignLayer(layer.mediaType);
    return reference(isForeign ? 'foreign' : 'layer', position, layer);
  });
  return [reference('config', 0, config), ...layers];
}

function indexReferences(document: Record<string, unknown>): ManifestReferenceDraft[] {
  return listOf(document['manifests']).map((value, position) =>
    reference('child', position, parseDescriptor(value, `manifests[${position}]`)),
  );
}

function reference(
  kind: ManifestReferenceDraft['kind'],
  position: number,
  descriptor: Descriptor,
): ManifestReferenceDraft {
  const { digest, mediaType, sizeBytes } = descriptor;
  return { kind, position, target: digest, mediaType, sizeBytes };
}

/** Go writes an absent list as null; an absent one is as good. */
function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null;
}
