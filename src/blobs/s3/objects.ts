import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import type { ByteRange } from '../blob-store.ts';
import { isAbsent, isConflict, isNotImplemented, unavailable } from './failures.ts';
import type { Service } from './service.ts';
import type { Part } from './upload-state.ts';

/** Bytes in memory, in pieces: nothing joins them. */
export interface Pieces {
  readonly pieces: readonly Uint8Array[];
  readonly sizeBytes: number;
}

export interface ObjectFacts {
  readonly sizeBytes: number;
  readonly modifiedAt: number;
  readonly etag: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface OpenedObject {
  readonly stream: Readable;
  /** Of the whole object. */
  readonly sizeBytes: number;
  /** Of what the stream brings. */
  readonly lengthBytes: number;
  readonly etag: string;
}

export interface ListedObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly modifiedAt: number;
}

/** How often a conditional write is made again over what another attempt of it, or a writer before us, left. */
const CONFLICTS_MAX = 3;

/** The requests that the store makes, each as a function. Throws what the service says (see `failures.ts`). */
export class Objects {
  readonly service: Service;
  #conditionsWork = true;

  constructor(service: Service) {
    this.service = service;
  }

  get #bucket(): { readonly Bucket: string } {
    return { Bucket: this.service.bucket };
  }

  async checkBucket(signal: AbortSignal): Promise<void> {
    const { client } = this.service;
    await this.service.call({ action: 'reach the bucket', signal }, (abortSignal) =>
      client.send(new HeadBucketCommand(this.#bucket), { abortSignal }),
    );
  }

  async head(key: string): Promise<ObjectFacts | null> {
    const command = new HeadObjectCommand({ ...this.#bucket, Key: key });
    const answer = await orNull(
      this.service.call({ action: 'look at an object' }, (abortSignal) =>
        this.service.client.send(command, { abortSignal }),
      ),
    );
    if (answer === null) return null;
    return {
      sizeBytes: answer.ContentLength ?? 0,
      modifiedAt: wholeSeconds(answer.LastModified),
      etag: answer.ETag ?? '',
      metadata: answer.Metadata ?? {},
    };
  }

  async open(key: string, range: ByteRange | null, signal: AbortSignal): Promise<OpenedObject | null> {
    const command = new GetObjectCommand({
      ...this.#bucket,
      Key: key,
      ...(range === null ? {} : { Range: `bytes=${range.start}-${range.end}` }),
    });
    const answer = await orNull(
      this.service.call({ action: 'read an object', signal }, (abortSignal) =>
        this.service.client.send(command, { abortSignal }),
      ),
    );
    if (answer === null) return null;
    const stream = answer.Body as Readable;
    const lengthBytes = answer.ContentLength ?? 0;
    const sizeBytes = range === null ? lengthBytes : totalOf(answer.ContentRange);
    if (sizeBytes === null || (range !== null && lengthBytes !== range.end - range.start + 1)) {
      stream.on('error', () => undefined).destroy();
      throw unavailable('the service did not answer with the range that was asked for', false);
    }
    return { stream, sizeBytes, lengthBytes, etag: answer.ETag ?? '' };
  }

  /** The object, or a range of it, in memory. */
  async read(
    key: string,
    range: ByteRange | null = null,
  ): Promise<{ readonly bytes: Buffer; readonly etag: string } | null> {
    const call = { action: 'read an object', bodyBytes: range === null ? 0 : range.end - range.start + 1 };
    return await orNull(
      this.service.call(call, async (signal) => {
        const command = new GetObjectCommand({
          ...this.#bucket,
          Key: key,
          ...(range === null ? {} : { Range: `bytes=${range.start}-${range.end}` }),
        });
        const answer = await this.service.client.send(command, { abortSignal: signal });
        const stream = answer.Body as Readable;
        const onAbort = (): void => void stream.destroy(signal.reason);
        signal.addEventListener('abort', onAbort, { once: true });
        const chunks: Buffer[] = [];
        for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
        signal.removeEventListener('abort', onAbort);
        const bytes = Buffer.concat(chunks);
        if (bytes.byteLength !== answer.ContentLength) throw unavailable('a body ended too early', true);
        return { bytes, etag: answer.ETag ?? '' };
      }),
    );
  }

  /**
   * Writes a blob's bytes at its key, over what has the ETag `expected` (`null`: over nothing). Where something else stands
   * there, it is what an attempt of ours left whose answer was lost, or what a request wrote that lost the upload's lease:
   * it is written over. A write that was on its way when its upload was taken over does not get that chance: it fails.
   */
  async putBlob(key: string, body: Pieces, expected: string | null): Promise<string> {
    const { storageClass } = this.service.config;
    const input = {
      ...this.#encryption(),
      ...(storageClass === null
        ? {}
        : { StorageClass: storageClass as PutObjectCommandInput['StorageClass'] }),
      ContentType: 'application/octet-stream',
    };
    let standing = expected;
    for (let attempt = 0; ; attempt++) {
      if (!this.#conditionsWork) break;
      try {
        const condition = standing === null ? { IfNoneMatch: '*' } : { IfMatch: standing };
        return await this.#put(key, body, { ...input, ...condition });
      } catch (error) {
        if (isNotImplemented(error)) this.#conditionsWork = false;
        else if ((isConflict(error) || isAbsent(error)) && attempt < CONFLICTS_MAX) {
          standing = (await this.head(key))?.etag ?? null;
        } else throw error;
      }
    }
    return await this.#put(key, body, input);
  }

  async putState(key: string, body: Pieces, metadata: Readonly<Record<string, string>>): Promise<void> {
    await this.#put(key, body, { ...this.#encryption(), Metadata: { ...metadata } });
  }

  async #put(key: string, body: Pieces, input: Partial<PutObjectCommandInput>): Promise<string> {
    const call = { action: 'write an object', bodyBytes: body.sizeBytes };
    const answer = await this.service.call(call, (abortSignal) =>
      this.service.client.send(
        new PutObjectCommand({ ...input, ...this.#bucket, Key: key, ...bodyOf(body) }),
        { abortSignal },
      ),
    );
    return answer.ETag ?? '';
  }

  /** Absent: no effect. */
  async delete(key: string): Promise<void> {
    const command = new DeleteObjectCommand({ ...this.#bucket, Key: key });
    await orNull(
      this.service.call({ action: 'delete an object' }, (abortSignal) =>
        this.service.client.send(command, { abortSignal }),
      ),
    );
  }

  async createMultipart(key: string): Promise<string> {
    const { storageClass } = this.service.config;
    const command = new CreateMultipartUploadCommand({
      ...this.#encryption(),
      ...(storageClass === null
        ? {}
        : { StorageClass: storageClass as PutObjectCommandInput['StorageClass'] }),
      ...this.#bucket,
      Key: key,
      ContentType: 'application/octet-stream',
    });
    const answer = await this.service.call({ action: 'begin a multipart upload' }, (abortSignal) =>
      this.service.client.send(command, { abortSignal }),
    );
    if (answer.UploadId === undefined) throw unavailable('the service named no multipart upload', false);
    return answer.UploadId;
  }

  async uploadPart(at: PartPlace, body: Pieces): Promise<Part> {
    const call = { action: 'write a part', bodyBytes: body.sizeBytes };
    const answer = await this.service.call(call, (abortSignal) =>
      this.service.client.send(
        new UploadPartCommand({ ...this.#bucket, ...this.#place(at), ...bodyOf(body) }),
        { abortSignal },
      ),
    );
    return { sizeBytes: body.sizeBytes, etag: answer.ETag ?? '' };
  }

  /** A part from bytes of the object that stands at the same key. */
  async copyPart(at: PartPlace, range: ByteRange): Promise<Part> {
    const command = new UploadPartCopyCommand({
      ...this.#bucket,
      ...this.#place(at),
      CopySource: encodeURI(`${this.service.bucket}/${at.key}`),
      CopySourceRange: `bytes=${range.start}-${range.end}`,
    });
    const answer = await this.service.call({ action: 'copy a part', serverSide: true }, (abortSignal) =>
      this.service.client.send(command, { abortSignal }),
    );
    return { sizeBytes: range.end - range.start + 1, etag: answer.CopyPartResult?.ETag ?? '' };
  }

  async completeMultipart(key: string, multipartId: string, parts: readonly Part[]): Promise<void> {
    const command = new CompleteMultipartUploadCommand({
      ...this.#bucket,
      Key: key,
      UploadId: multipartId,
      MultipartUpload: { Parts: parts.map(({ etag }, index) => ({ PartNumber: index + 1, ETag: etag })) },
    });
    await this.service.call({ action: 'complete a multipart upload', serverSide: true }, (abortSignal) =>
      this.service.client.send(command, { abortSignal }),
    );
  }

  /** Unknown: no effect. */
  async abortMultipart(key: string, multipartId: string): Promise<void> {
    const command = new AbortMultipartUploadCommand({ ...this.#bucket, Key: key, UploadId: multipartId });
    await orNull(
      this.service.call({ action: 'abort a multipart upload' }, (abortSignal) =>
        this.service.client.send(command, { abortSignal }),
      ),
    );
  }

  /** In byte order of the keys, behind `after`. */
  async list(prefix: string, after: string | null, limit: number): Promise<readonly ListedObject[]> {
    const command = new ListObjectsV2Command({
      ...this.#bucket,
      Prefix: prefix,
      MaxKeys: limit,
      ...(after === null ? {} : { StartAfter: after }),
    });
    const answer = await this.service.call({ action: 'list objects' }, (abortSignal) =>
      this.service.client.send(command, { abortSignal }),
    );
    return (answer.Contents ?? []).map((entry) => ({
      key: entry.Key ?? '',
      sizeBytes: entry.Size ?? 0,
      modifiedAt: wholeSeconds(entry.LastModified),
    }));
  }

  #encryption() {
    const { encryption, kmsKeyId } = this.service.config;
    if (encryption === null) return {};
    return {
      ServerSideEncryption: encryption,
      ...(kmsKeyId === null ? {} : { SSEKMSKeyId: kmsKeyId }),
    };
  }

  #place({ key, multipartId, number }: PartPlace) {
    return { Key: key, UploadId: multipartId, PartNumber: number };
  }
}

export interface PartPlace {
  readonly key: string;
  readonly multipartId: string;
  /** From 1. */
  readonly number: number;
}

/** A stream made anew for each attempt: the pieces themselves stay where they are. */
function bodyOf(body: Pieces) {
  const [first = new Uint8Array(0), ...more] = body.pieces;
  const whole = more.length === 0 ? first : null;
  return {
    Body: whole ?? Readable.from(body.pieces, { objectMode: false }),
    ContentLength: body.sizeBytes,
  };
}

async function orNull<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

function totalOf(contentRange: string | undefined): number | null {
  const total = /\/(\d+)$/.exec(contentRange ?? '')?.[1];
  return total === undefined ? null : Number(total);
}

/** A look at an object tells whole seconds, a list of some servers more: the same object, the same time. */
function wholeSeconds(date: Date | undefined): number {
  return Math.floor((date?.getTime() ?? 0) / 1000) * 1000;
}
