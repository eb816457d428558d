import { type Digest, type DigestAlgorithm, digestAlgorithm, digestHex, makeDigest } from '../oci/digest.ts';

const NUMBER: Readonly<Record<DigestAlgorithm, number>> = { sha256: 1, sha512: 2 };

/** How the ledger keeps a digest: one byte for the algorithm, then the raw hash. Their byte order is that of the text. */
export function digestToBytes(digest: Digest): Uint8Array {
  const hex = digestHex(digest);
  const bytes = Buffer.allocUnsafe(1 + hex.length / 2);
  bytes[0] = NUMBER[digestAlgorithm(digest)];
  bytes.write(hex, 1, 'hex');
  return bytes;
}

/** Throws `RangeError` on bytes that `digestToBytes` never made: then the ledger is damaged. */
export function digestFromBytes(bytes: Uint8Array): Digest {
  const hash = Buffer.from(bytes.buffer, bytes.byteOffset + 1, Math.max(0, bytes.byteLength - 1));
  if (bytes[0] === NUMBER.sha256) return makeDigest('sha256', hash.toString('hex'));
  if (bytes[0] === NUMBER.sha512) return makeDigest('sha512', hash.toString('hex'));
  throw new RangeError('the ledger holds bytes that are no digest');
}

/** The same from their hex, in upper case, as SQLite writes it. Throws `RangeError` likewise. */
export function digestFromHex(hex: string): Digest {
  const hash = hex.slice(2).toLowerCase();
  if (hex.startsWith('01')) return makeDigest('sha256', hash);
  if (hex.startsWith('02')) return makeDigest('sha512', hash);
  throw new RangeError('the ledger holds bytes that are no digest');
}

export function digestFromBytesOrNull(bytes: Uint8Array | null): Digest | null {
  return bytes === null ? null : digestFromBytes(bytes);
}
