import type { Digest } from './digest.ts';
import { parseDigest } from './digest.ts';

/** A movable name for one manifest in one repository. Case-sensitive. */
export type Tag = string & { readonly __brand: 'Tag' };

export type Reference =
  | { readonly kind: 'tag'; readonly tag: Tag }
  | { readonly kind: 'digest'; readonly digest: Digest };

/** distribution-spec, "Pulling manifests". */
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
/** Of a longer digest only 64 characters of the encoded part stand in the tag. */
const DIGEST_TAG = /^sha(?:256|512)-[0-9a-f]{64}(?:\.(?:sig|att|sbom))?$/;

export function parseTag(text: string): Tag | null {
  return TAG.test(text) ? (text as Tag) : null;
}

/** No tag holds a colon, so text with one is a digest or nothing. */
export function parseReference(text: string): Reference | null {
  if (text.includes(':')) {
    const digest = parseDigest(text);
    return digest === null ? null : { kind: 'digest', digest };
  }
  const tag = parseTag(text);
  return tag === null ? null : { kind: 'tag', tag };
}

/**
 * Whether a tag stands for a digest: the referrers tag schema (distribution-spec, "Referrers Tag Schema"), and the signatures,
 * attestations and bills of materials of cosign before version 3.
 */
export function isDigestTag(tag: Tag): boolean {
  return DIGEST_TAG.test(tag);
}
