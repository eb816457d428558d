import { createHash, type Hash } from 'node:crypto';
import type { UploadId } from '../blobs/blob-store.ts';
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

/**
 * Node cannot write a hash's state down, so it stays in the process that received the bytes. An upload that goes on in
 * another process, or after this map forgot it, costs one more read of its staged bytes and nothing else.
 */
export class RunningDigests {
  readonly #byUpload = new Map<UploadId, RunningDigest>();

  /** Takes out the hash of exactly the first `offset` bytes, or starts one at 0; null: the bytes must be read again. */
  take(id: UploadId, algorithm: DigestAlgorithm, offset: number): RunningDigest | null {
    const running = this.#byUpload.get(id);
    this.#byUpload.delete(id);
    if (offset === 0) return new RunningDigest(algorithm);
    return running !== undefined && running.bytes === offset ? running : null;
  }

  /** Whether `take` would give one for bytes that were received: this process knows that they are staged. */
  has(id: UploadId, algorithm: DigestAlgorithm, offset: number): boolean {
    const running = this.#byUpload.get(id);
    return offset > 0 && running?.bytes === offset && running.algorithm === algorithm;
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
}
