import { createHash } from 'node:crypto';

/** `algorithm:hex` of some bytes, parsed: the algorithm is one we know and the hex is lower-case and complete. */
export type Digest = string & { readonly __brand: 'Digest' };

export type DigestAlgorithm = 'sha256' | 'sha512';

const HEX_LENGTH: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 };
const LOWER_HEX = /^[0-9a-f]+$/;

/** Null for anything else than a registered algorithm with its exact length (image-spec, descriptor.md, "Digests"). */
export function parseDigest(text: string): Digest | null {
  const colon = text.indexOf(':');
  if (colon < 0) return null;
  const algorithm = parseDigestAlgorithm(text.slice(0, colon));
  if (algorithm === null || text.length !== colon + 1 + HEX_LENGTH[algorithm]) return null;
  return LOWER_HEX.test(text.slice(colon + 1)) ? (text as Digest) : null;
}

export function parseDigestAlgorithm(text: string): DigestAlgorithm | null {
  return text === 'sha256' || text === 'sha512' ? text : null;
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512';
}

export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** From the output of a hash. Throws `RangeError` on hex that is no digest of the algorithm: that is a mistake of ours. */
export function makeDigest(algorithm: DigestAlgorithm, hex: string): Digest {
  const digest = parseDigest(`${algorithm}:${hex}`);
  if (digest === null) throw new RangeError(`not the hex of a ${algorithm} digest`);
  return digest;
}

export function digestOf(algorithm: DigestAlgorithm, bytes: Uint8Array): Digest {
  return makeDigest(algorithm, createHash(algorithm).update(bytes).digest('hex'));
}
