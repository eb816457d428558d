import type { Digest } from './digest.ts';
import { digestAlgorithm, digestOf, parseDigest } from './digest.ts';
import { RegistryError } from './error-codes.ts';
import { isMediaType, MEDIA_TYPE_LENGTH_MAX } from './media-types.ts';

/** A pointer to content (image-spec, descriptor.md), as far as a registry reads it. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Where else the content may be had. Never fetched by the registry. */
  readonly urls: readonly string[];
  readonly artifactType: string | null;
  readonly annotations: Readonly<Record<string, string>> | null;
}

/** Content embedded in a descriptor's `data`. image-spec wants it small; configs and attestations fit. */
const DESCRIPTOR_DATA_BYTES_MAX = 65_536;
/** Addresses in one `urls`. */
const DESCRIPTOR_URLS_MAX = 100;

const QUOTED_LENGTH_MAX = 100;

/** The keys of a descriptor that we or a client would act on. */
export const DESCRIPTOR_KEYS = [
  'mediaType',
  'digest',
  'size',
  'urls',
  'annotations',
  'data',
  'artifactType',
  'platform',
] as const;

/**
 * Reads a parsed JSON value as a descriptor. `where` names it in the sentence of the error (`layers[3]`). Optional fields may
 * be null: encoders in Go write absent lists and maps so.
 */
export function parseDescriptor(value: unknown, where: string): Descriptor {
  if (!isJsonObject(value)) throw manifestInvalid(`${where} is not an object`);
  const mediaType = optionalMediaType(value['mediaType'], `${where}.mediaType`);
  if (mediaType === null) throw manifestInvalid(`${where}.mediaType is missing`);
  const digest = descriptorDigest(value['digest'], `${where}.digest`);
  const sizeBytes = descriptorSize(value['size'], `${where}.size`);
  checkData(value['data'], { digest, sizeBytes, where: `${where}.data` });
  return {
    mediaType,
    digest,
    sizeBytes,
    urls: descriptorUrls(value['urls'], `${where}.urls`),
    artifactType: optionalMediaType(value['artifactType'], `${where}.artifactType`),
    annotations: optionalAnnotations(value['annotations'], `${where}.annotations`),
  };
}

function descriptorDigest(value: unknown, where: string): Digest {
  if (value === undefined || value === null) throw manifestInvalid(`${where} is missing`);
  if (typeof value !== 'string') throw manifestInvalid(`${where} is not a string`);
  const digest = parseDigest(value);
  if (digest === null) {
    throw manifestInvalid(`${where} is not a sha256 or sha512 digest in lower case: ${quote(value)}`);
  }
  return digest;
}

function descriptorSize(value: unknown, where: string): number {
  if (value === undefined || value === null) throw manifestInvalid(`${where} is missing`);
  if (typeof value !== 'number') throw manifestInvalid(`${where} is not a number`);
  if (!Number.isSafeInteger(value) || value < 0 || Object.is(value, -0)) {
    throw manifestInvalid(`${where} is not a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
  }
  return value;
}

function descriptorUrls(value: unknown, where: string): readonly string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw manifestInvalid(`${where} is not a list`);
  if (value.length > DESCRIPTOR_URLS_MAX) {
    throw manifestInvalid(`${where} has more than ${DESCRIPTOR_URLS_MAX} entries`);
  }
  return value.map((url: unknown, index) => {
    if (typeof url !== 'string') throw manifestInvalid(`${where}[${index}] is not a string`);
    return url;
  });
}

/** image-spec, descriptor.md, "Embedded Content": what stands in `data` must be what the digest and the size say. */
function checkData(value: unknown, expected: { digest: Digest; sizeBytes: number; where: string }): void {
  if (value === undefined || value === null) return;
  const { digest, sizeBytes, where } = expected;
  if (typeof value !== 'string') throw manifestInvalid(`${where} is not a string`);
  if (value.length > Math.ceil(DESCRIPTOR_DATA_BYTES_MAX / 3) * 4) {
    throw manifestInvalid(`${where} holds more than ${DESCRIPTOR_DATA_BYTES_MAX} bytes`);
  }
  const bytes = Buffer.from(value, 'base64');
  // Node skips what is not base64; only the canonical form survives the way back.
  if (bytes.toString('base64') !== value) throw manifestInvalid(`${where} is not padded base64`);
  if (bytes.length !== sizeBytes) {
    throw manifestInvalid(`${where} holds ${bytes.length} bytes, but the size is ${sizeBytes}`);
  }
  if (digestOf(digestAlgorithm(digest), bytes) !== digest) {
    throw manifestInvalid(`${where} does not have the digest of its descriptor`);
  }
}

/** Null when absent, null or empty: an empty artifact type is the same as none (image-spec, manifest.md). */
export function optionalMediaType(value: unknown, where: string): string | null {
  if (value === undefined || value === null || value === '') return null;
  if (typeof value !== 'string') throw manifestInvalid(`${where} is not a string`);
  if (!isMediaType(value)) {
    throw manifestInvalid(
      `${where} is not a media type of at most ${MEDIA_TYPE_LENGTH_MAX} characters: ${quote(value)}`,
    );
  }
  return value;
}

/** Annotations are strings by name (image-spec, annotations.md). The record has no prototype: any name is only a name. */
export function optionalAnnotations(value: unknown, where: string): Readonly<Record<string, string>> | null {
  if (value === undefined || value === null) return null;
  if (!isJsonObject(value)) throw manifestInvalid(`${where} is not an object`);
  for (const name of Object.keys(value)) {
    if (typeof value[name] !== 'string') throw manifestInvalid(`${where}[${quote(name)}] is not a string`);
  }
  // In place: a copy of some hundred thousand annotations takes longer than reading them.
  Object.setPrototypeOf(value, null);
  return value as Readonly<Record<string, string>>;
}

export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function manifestInvalid(sentence: string): RegistryError {
  return new RegistryError('MANIFEST_INVALID', sentence);
}

/** A client's text in a sentence of ours: escaped, and short. */
export function quote(text: string): string {
  return JSON.stringify(text.length > QUOTED_LENGTH_MAX ? `${text.slice(0, QUOTED_LENGTH_MAX)}…` : text);
}
