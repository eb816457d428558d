import { createHash, type Hash } from 'node:crypto';
import type { UploadId } from '../blobs/blob-store.ts';
import type { Upload } from '../meta/meta-store.ts';
import { type Digest, type DigestAlgorithm, makeDigest } from '../oci/digest.ts';

/** Uploads whose hash a process keeps between requests; beyond it the oldest is read again at the end. */
const runningDigestsMax = 2048;

/** The hash over the first `bytes` bytes of an upload. */
export class RunningDigest {
  readonly algorithm: DigestAlgorithm;
  readonly #hash: Hash;
  #bytes = 0;

  constructor(algorithm: DigestAlgorithm) {
    this.algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  get bytes(): number {
    return this.#bytes;
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#bytes += chunk.byteLength;
  }

  /** The digest so far; more bytes may follow. */
  digest(): Digest {
    return makeDigest(this.algorithm, this.#hash.copy().digest('hex'));
  }
}

/** What the row of an upload says of its bytes. */
type Hashed = Pick<Upload, 'id' | 'algorithm' | 'offsetBytes' | 'digestSoFar'>;

/**
 * Node cannot write a hash's state down, so it stays in the process that received the bytes. An upload that goes on in
 * another process, or after this map forgot it, costs one more read of its staged bytes and nothing else.
 */
export class RunningDigests {
  readonly #byUpload = new Map<UploadId, RunningDigest>();

  /** Takes out the hash of the bytes that the upload has, or starts one of none; null: they must be read again. */
  take(upload: Hashed): RunningDigest | null {
    const running = this.#of(upload);
    this.#byUpload.delete(upload.id);
    return upload.offsetBytes === 0 ? new RunningDigest(upload.algorithm) : running;
  }

  keep(id: UploadId, running: RunningDigest): void {
    this.#byUpload.delete(id);
    this.#byUpload.set(id, running);
    if (this.#byUpload.size <= runningDigestsMax) return;
    const oldest = this.#byUpload.keys().next();
    if (oldest.done !== true) this.#byUpload.delete(oldest.value);
  }

  forget(id: UploadId): void {
    this.#byUpload.delete(id);
  }

  /** As many bytes are not yet the same ones: another process may have received others in their place since. */
  #of({ id, offsetBytes, digestSoFar }: Hashed): RunningDigest | null {
    const running = this.#byUpload.get(id);
    if (running === undefined || running.bytes !== offsetBytes) return null;
    return running.digest() === digestSoFar ? running : null;
  }
}
