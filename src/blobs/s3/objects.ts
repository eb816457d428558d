import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
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
import { Deletes } from './deletes.ts';
import { isAbsent, isConflict, isNotImplemented, orNull, statusOf, unavailable } from './failures.ts';
import type { Call, Request, Service } from './service.ts';
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
/** How far the clock of the service may be ahead; an upload is taken over no sooner than its lease ends, which is longer. */
const CLOCKS_MILLISECONDS_MAX = 5_000;

/** The requests that the store makes, each as a function. Throws what the service says (see `failures.ts`). */
export class Objects {
  readonly service: Service;
  readonly #known: Known;
  readonly #lost: AbortSignal | undefined;

  constructor(
    service: Service,
    known: Known = { conditionsWork: true, deletes: new Deletes(service) },
    lost?: AbortSignal,
  ) {
    this.service = service;
    this.#known = known;
    this.#lost = lost;
  }

  /** The same, for one who may lose what it writes to: then nothing more is asked, and what is under way is given up. */
  under(lost: AbortSignal): Objects {
    return new Objects(this.service, this.#known, lost);
  }

  get #bucket(): { readonly Bucket: string } {
    return { Bucket: this.service.bucket };
  }

  async checkBucket(signal: AbortSignal): Promise<void> {
    const { client } = this.service;
    const found = await orNull(
      this.#call({ signal }, (abortSignal) =>
        client.send(new HeadBucketCommand(this.#bucket), { abortSignal }),
      ),
    );
    if (found === null) throw unavailable(`the bucket ${this.service.bucket} does not exist`, false);
  }

  async head(key: string): Promise<ObjectFacts | null> {
    const command = new HeadObjectCommand({ ...this.#bucket, Key: key });
    const answer = await orNull(
      this.#call({}, (abortSignal) => this.service.client.send(command, { abortSignal })),
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
    const asked = this.#call({ signal }, (abortSignal) => this.#get(key, range, abortSignal));
    const opened = await orNull(asked);
    if (opened !== null && range !== null && range.end >= opened.sizeBytes) throw wrongRange(opened.stream);
    return opened;
  }

  /** The object's first bytes, in memory; fewer, where it has fewer. */
  async readStart(
    key: string,
    bytes: number,
  ): Promise<{ readonly start: Buffer; readonly etag: string; readonly sizeBytes: number } | null> {
    const range = { start: 0, end: bytes - 1 };
    const read = await orNull(this.#read({}, { key, range }, buffer));
    return read === null ? null : { ...read, start: read.value };
  }

  /** A part of the object as it comes; `use` begins anew with each attempt. Absent: throws what the service says. */
  async read(part: ObjectPart, use: (chunks: AsyncIterable<Buffer>) => Promise<void>): Promise<void> {
    const { etag, range } = part;
    const call = { bodyBytes: range.end - range.start + 1 };
    const read = await whileItIs(this.#read(call, part, use));
    if (read.etag !== etag) throw wentOn();
  }

  async #read<T>(
    call: Call,
    { key, range }: Pick<ObjectPart, 'key' | 'range'>,
    use: (chunks: AsyncIterable<Buffer>) => Promise<T>,
  ): Promise<{ readonly value: T; readonly etag: string; readonly sizeBytes: number }> {
    return await this.#call(call, async (signal, onProgress) => {
      const opened = await this.#get(key, range, signal);
      const onAbort = (): void => void opened.stream.destroy(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        const value = await use(arriving(opened, onProgress));
        return { value, etag: opened.etag, sizeBytes: opened.sizeBytes };
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
    });
  }

  async #get(key: string, range: ByteRange | null, abortSignal: AbortSignal): Promise<OpenedObject> {
    const command = new GetObjectCommand({
      ...this.#bucket,
      Key: key,
      ...(range === null ? {} : { Range: `bytes=${range.start}-${range.end}` }),
    });
    const answer = await this.service.client.send(command, { abortSignal });
    const stream = answer.Body as Readable;
    const lengthBytes = answer.ContentLength ?? 0;
    const total = totalOf(answer.ContentRange);
    const isWhole = range === null || (total === null && range.start === 0 && lengthBytes <= range.end + 1);
    const sizeBytes = isWhole ? lengthBytes : total;
    if (sizeBytes === null) throw wrongRange(stream);
    const endBytes = range === null ? sizeBytes : Math.min(range.end + 1, sizeBytes);
    if (lengthBytes !== endBytes - (range?.start ?? 0)) throw wrongRange(stream);
    return { stream, sizeBytes, lengthBytes, etag: answer.ETag ?? '' };
  }

  /**
   * Writes a blob's bytes at its key, over what has the ETag `over` (`null`: over nothing). What else stands there was left
   * by an earlier beginning of the upload or by an attempt of this write whose answer was lost, and is written over, unless
   * it is younger than the append that writes: then another request has taken the upload over meanwhile, and this one,
   * held up on its way, must not touch what is perhaps a blob by now.
   */
  async putBlob(
    key: string,
    body: Pieces,
    place: { readonly over: string | null; readonly since: number },
  ): Promise<string> {
    const input = { ...this.#kind(), ContentType: 'application/octet-stream' };
    let { over } = place;
    for (let attempt = 0; ; attempt++) {
      if (!this.#known.conditionsWork) break;
      try {
        const condition = over === null ? { IfNoneMatch: '*' } : { IfMatch: over };
        return await this.#put(key, body, { ...input, ...condition });
      } catch (error) {
        if (isNotImplemented(error)) this.#known.conditionsWork = false;
        else if ((!isConflict(error) && !isAbsent(error)) || attempt >= CONFLICTS_MAX) throw error;
        else {
          const found = await this.head(key);
          const isYounger = found !== null && isYoungerThan(found, place.since);
          if (isYounger && found.sizeBytes === body.sizeBytes) return found.etag;
          if (isYounger) throw wentOn();
          over = found?.etag ?? null;
        }
      }
    }
    return await this.#put(key, body, input);
  }

  async putState(
    key: string,
    state: {
      readonly body: Pieces;
      readonly metadata: Readonly<Record<string, string>>;
      readonly signal?: AbortSignal;
    },
  ): Promise<void> {
    const { body, metadata, signal } = state;
    await this.#put(key, body, { ...this.#encryption(), Metadata: { ...metadata } }, signal);
  }

  async #put(
    key: string,
    body: Pieces,
    input: Partial<PutObjectCommandInput>,
    signal?: AbortSignal,
  ): Promise<string> {
    const call = { bodyBytes: body.sizeBytes, ...(signal === undefined ? {} : { signal }) };
    const answer = await this.#call(call, (abortSignal, onProgress) =>
      this.service.client.send(
        new PutObjectCommand({ ...input, ...this.#bucket, Key: key, ...bodyOf(body, onProgress) }),
        { abortSignal },
      ),
    );
    return answer.ETag ?? '';
  }

  /** Absent: no effect. With others, unless there is a signal to listen to. */
  async delete(key: string, signal?: AbortSignal): Promise<void> {
    const listened = signal ?? this.#lost;
    if (listened === undefined) await this.#known.deletes.delete(key);
    else await this.#known.deletes.deleteNow(key, listened);
  }

  /** Unless it is younger than that: then another request has taken the upload over meanwhile (see `putBlob`). */
  async deleteOlder(key: string, than: number): Promise<void> {
    const found = await this.head(key);
    if (found === null) return;
    if (isYoungerThan(found, than)) throw wentOn();
    await this.delete(key);
  }

  async createMultipart(key: string): Promise<string> {
    const command = new CreateMultipartUploadCommand({
      ...this.#kind(),
      ...this.#bucket,
      Key: key,
      ContentType: 'application/octet-stream',
    });
    const answer = await this.#call({}, (abortSignal) => this.service.client.send(command, { abortSignal }));
    if (answer.UploadId === undefined) throw unavailable('the service named no multipart upload', false);
    return answer.UploadId;
  }

  async uploadPart(at: PartPlace, body: Pieces): Promise<Part> {
    const call = { bodyBytes: body.sizeBytes };
    const answer = await this.#call(call, (abortSignal, onProgress) =>
      this.service.client.send(
        new UploadPartCommand({ ...this.#bucket, ...this.#place(at), ...bodyOf(body, onProgress) }),
        { abortSignal },
      ),
    );
    return { sizeBytes: body.sizeBytes, etag: answer.ETag ?? '' };
  }

  /** A part from bytes of an object of more than 5 MiB, while it is the one with this ETag. */
  async copyPart(at: PartPlace, from: ObjectPart): Promise<Part> {
    const { key, etag, range } = from;
    const command = new UploadPartCopyCommand({
      ...this.#bucket,
      ...this.#place(at),
      CopySource: encodeURI(`${this.service.bucket}/${key}`),
      CopySourceRange: `bytes=${range.start}-${range.end}`,
      CopySourceIfMatch: etag,
    });
    const copied = this.#call({ serverSide: true }, (abortSignal) =>
      this.service.client.send(command, { abortSignal }),
    );
    const answer = await whileItIs(copied);
    return { sizeBytes: range.end - range.start + 1, etag: answer.CopyPartResult?.ETag ?? '' };
  }

  async completeMultipart(key: string, multipartId: string, parts: readonly Part[]): Promise<void> {
    const command = new CompleteMultipartUploadCommand({
      ...this.#bucket,
      Key: key,
      UploadId: multipartId,
      MultipartUpload: { Parts: parts.map(({ etag }, index) => ({ PartNumber: index + 1, ETag: etag })) },
    });
    await this.#call({ serverSide: true }, (abortSignal) =>
      this.service.client.send(command, { abortSignal }),
    );
  }

  /** Unknown: no effect. */
  async abortMultipart(key: string, multipartId: string): Promise<void> {
    const command = new AbortMultipartUploadCommand({ ...this.#bucket, Key: key, UploadId: multipartId });
    await orNull(this.#call({}, (abortSignal) => this.service.client.send(command, { abortSignal })));
  }

  /** In byte order of the keys, behind `after`. */
  async list(prefix: string, after: string | null, limit: number): Promise<readonly ListedObject[]> {
    const command = new ListObjectsV2Command({
      ...this.#bucket,
      Prefix: prefix,
      MaxKeys: limit,
      ...(after === null ? {} : { StartAfter: after }),
    });
    const answer = await this.#call({}, (abortSignal) => this.service.client.send(command, { abortSignal }));
    return (answer.Contents ?? []).map((entry) => ({
      key: entry.Key ?? '',
      sizeBytes: entry.Size ?? 0,
      modifiedAt: wholeSeconds(entry.LastModified),
    }));
  }

  #call<T>(call: Call, request: Request<T>): Promise<T> {
    return this.service.call(
      { ...(this.#lost === undefined ? {} : { signal: this.#lost }), ...call },
      request,
    );
  }

  /** Of blobs: states are read again soon and live short. */
  #kind() {
    const { storageClass } = this.service.config;
    if (storageClass === null) return this.#encryption();
    return {
      ...this.#encryption(),
      StorageClass: storageClass as NonNullable<PutObjectCommandInput['StorageClass']>,
    };
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

/** What has been found out of the service, and what is gathered for it. */
interface Known {
  conditionsWork: boolean;
  readonly deletes: Deletes;
}

export interface PartPlace {
  readonly key: string;
  readonly multipartId: string;
  /** From 1. */
  readonly number: number;
}

export interface ObjectPart {
  readonly key: string;
  /** Of the whole object as it was seen. */
  readonly etag: string;
  readonly range: ByteRange;
}

export function piecesOf(bytes: Uint8Array): Pieces {
  return { pieces: [bytes], sizeBytes: bytes.byteLength };
}

/** A stream made anew for each attempt: the pieces themselves stay where they are. */
function bodyOf(body: Pieces, onTaken: () => void) {
  const [first = new Uint8Array(0), ...more] = body.pieces;
  const whole = more.length === 0 ? first : null;
  return {
    Body: whole ?? Readable.from(taken(body.pieces, onTaken), { objectMode: false }),
    ContentLength: body.sizeBytes,
  };
}

/** The next piece is asked for when those before it have gone, but for one. */
function* taken(pieces: readonly Uint8Array[], onTaken: () => void): Generator<Uint8Array, void, void> {
  for (const piece of pieces) {
    onTaken();
    yield piece;
  }
}

async function* arriving(
  { stream, lengthBytes }: OpenedObject,
  onProgress: () => void,
): AsyncGenerator<Buffer, void, void> {
  let arrivedBytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    onProgress();
    arrivedBytes += chunk.byteLength;
    yield chunk;
  }
  if (arrivedBytes !== lengthBytes) throw unavailable('a body ended too early', true);
}

/** What is asked of an object as it was seen. */
async function whileItIs<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    // The condition does not hold, or there is no such range any more.
    if (isConflict(error) || statusOf(error) === 416) throw wentOn();
    throw error;
  }
}

function wentOn(): Error {
  return unavailable('another request went on with this upload', true);
}

function isYoungerThan({ modifiedAt }: ObjectFacts, time: number): boolean {
  return modifiedAt > time + CLOCKS_MILLISECONDS_MAX;
}

function wrongRange(stream: Readable): Error {
  stream.on('error', () => undefined).destroy();
  return unavailable('the service did not answer with the range that was asked for', false);
}

function totalOf(contentRange: string | undefined): number | null {
  const total = /\/(\d+)$/.exec(contentRange ?? '')?.[1];
  return total === undefined ? null : Number(total);
}

/** A look at an object tells whole seconds, a list of some servers more: the same object, the same time. */
function wholeSeconds(date: Date | undefined): number {
  return Math.floor((date?.getTime() ?? 0) / 1000) * 1000;
}
