import { createHash } from 'node:crypto';
import { type Digest, digestAlgorithm, makeDigest } from '../../oci/digest.ts';
import { Unavailable } from '../../std/unavailable.ts';
import type { BlobBody, BlobLocation, UploadId } from '../blob-store.ts';
import { once } from '../body-bytes.ts';
import type { FillClaim } from './fill-claims.ts';
import { type HotFiles, hotKey } from './hot-files.ts';
import { encodeSeal, PieceSums } from './seal.ts';

/** What a copy is made of. */
export interface FillOrder {
  readonly hot: HotFiles;
  readonly uploadId: UploadId;
  readonly location: BlobLocation;
  readonly digest: Digest;
  /** Of the whole blob, from the cold tier. */
  readonly body: BlobBody;
  /** Tells other processes of the copy; given back when there is nothing to tell any more. */
  readonly claim: FillClaim;
  readonly signal: AbortSignal;
}

export type FillState = 'running' | 'verified' | 'failed' | 'rotten';

/**
 * A blob on its way from the cold tier into a copy. Those who read it meanwhile follow the file as it grows; the last byte is
 * theirs when the whole has its digest.
 */
export class Fill {
  readonly uploadId: UploadId;
  readonly location: BlobLocation;
  readonly sizeBytes: number;
  /** Resolves when nothing is written any more and the claim is given back; true when there is a copy now. */
  readonly ended: Promise<boolean>;
  #writtenBytes = 0;
  #state: FillState = 'running';
  #progress = Promise.withResolvers<void>();

  constructor(order: FillOrder) {
    this.uploadId = order.uploadId;
    this.location = order.location;
    this.sizeBytes = order.body.sizeBytes;
    this.ended = this.#runClaimed(order);
  }

  get state(): FillState {
    return this.#state;
  }

  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Resolves when there are more bytes, or another state. */
  changed(): Promise<void> {
    return this.#progress.promise;
  }

  async #runClaimed(order: FillOrder): Promise<boolean> {
    const { claim } = order;
    const { uploadId, sizeBytes } = this;
    // Before there are bytes there is no file to follow.
    const told = this.changed()
      .then(() => claim.tell({ uploadId, sizeBytes }))
      .catch(() => undefined);
    const isCopied = await this.#run(order);
    await told;
    await claim.giveBack();
    return isCopied;
  }

  async #run(order: FillOrder): Promise<boolean> {
    const { hot, uploadId, body } = order;
    try {
      const sums = await this.#copy(order);
      if (sums === null) {
        this.#become('rotten');
        await hot.copies.discard(uploadId);
        return false;
      }
      this.#become('verified');
      await sealCopy(hot, { ...order, sizeBytes: this.sizeBytes, sums });
      return true;
    } catch {
      // Whoever follows goes on from the cold tier, and hears from it what is wrong with that.
      if (this.#state === 'running') this.#become('failed');
      await hot.copies.discard(uploadId).catch(() => undefined);
      return false;
    } finally {
      await body.close().catch(() => undefined);
    }
  }

  /** Null when the bytes have another digest. */
  async #copy({ hot, uploadId, digest, body, signal }: FillOrder): Promise<Uint32Array | null> {
    const hash = createHash(digestAlgorithm(digest));
    const sums = new PieceSums();
    const pass = async function* (this: Fill): AsyncGenerator<Uint8Array, void, void> {
      for await (const chunk of body.chunks) {
        hash.update(chunk);
        sums.update(chunk);
        const { byteLength } = chunk;
        yield chunk;
        body.recycle?.(chunk);
        this.#writtenBytes += byteLength;
        this.#wake();
      }
    };
    await hot.copies.append(uploadId, 0, pass.call(this), signal);
    return makeDigest(digestAlgorithm(digest), hash.digest('hex')) === digest ? sums.finish() : null;
  }

  #become(state: FillState): void {
    this.#state = state;
    this.#wake();
  }

  #wake(): void {
    this.#progress.resolve();
    this.#progress = Promise.withResolvers();
  }
}

/** Makes the first `sizeBytes` bytes that are staged among the copies the copy of a blob. */
export async function sealCopy(
  hot: HotFiles,
  made: {
    readonly uploadId: UploadId;
    readonly location: BlobLocation;
    readonly digest: Digest;
    readonly sizeBytes: number;
    readonly sums: Uint32Array;
  },
): Promise<void> {
  const { uploadId, location, sizeBytes, sums } = made;
  const seal = encodeSeal(made, sums);
  await hot.copies.append(uploadId, sizeBytes, once(seal), new AbortController().signal);
  await hot.copies.commit(uploadId, hotKey(location), sizeBytes + seal.byteLength);
}

export function rottenBlob(digest: Digest): Unavailable {
  return new Unavailable(
    'blob store',
    `blob ${digest} is damaged in the cold tier: run "drift fsck --rehash"`,
    {
      retryable: false,
    },
  );
}
