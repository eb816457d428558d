import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

/** Bytes that a ranged GET answers before it cuts the connection. */
const WRONG_BYTES = 32 * 1024;
const LISTED_KEYS_MAX = 1000;

export interface GhostbayRequest {
  readonly method: string;
  readonly bucket: string;
  /** Empty for a request of the bucket. */
  readonly key: string;
  readonly headers: IncomingMessage['headers'];
  /** Null until it is answered. */
  status: number | null;
}

/**
 * What becomes of a request: `serve` it; answer 500 and do nothing; `cut` the connection or `hang` for ever, before or after
 * it was done; `cut-body`: the answer ends in its middle.
 */
export type Fate = 'serve' | 'fail' | 'cut-before' | 'cut-after' | 'hang-before' | 'hang-after' | 'cut-body';

export interface GhostbayDouble {
  /** `http://127.0.0.1:PORT`. */
  readonly endpoint: string;
  /** Every request so far. */
  readonly requests: readonly GhostbayRequest[];
  /** The largest body that was held in memory. */
  readonly bodyBytesMax: () => number;
  /** Keys of a bucket, sorted. */
  readonly keys: (bucket: string) => string[];
  readonly object: (bucket: string, key: string) => Buffer | null;
  /** Decides about each request from now on. */
  decide(fate: (request: GhostbayRequest) => Fate): void;
  stop(): Promise<void>;
}

interface Row {
  readonly etag: string;
  readonly sizeBytes: number;
  readonly updatedAt: string;
}

interface Bucket {
  /** The catalog: its unique index is what fails when a key is put twice. */
  readonly rows: Map<string, Row>;
  /** Objects by path; directories stay when they are empty. */
  readonly files: Map<string, Buffer>;
  readonly directories: Set<string>;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** The connection is cut behind the body, however long the headers say it is. */
  readonly isCut?: boolean;
}

/**
 * A server that behaves as GhostBay 0.1.0 does, mistakes included: a second put of a key exchanges the bytes and answers
 * 500, ranges are wrong bytes and a cut connection, lists tell 1000 keys and never that there are more, everything but an
 * object is JSON, signatures are not looked at. Holds everything in memory.
 */
export async function startGhostbay(): Promise<GhostbayDouble> {
  const double = new Double();
  const server = createServer((request, response) => void double.serve(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: double.requests,
    bodyBytesMax: () => double.bodyBytesMax,
    keys: (bucket) => [...(double.buckets.get(bucket)?.rows.keys() ?? [])].sort(),
    object: (bucket, key) => double.buckets.get(bucket)?.files.get(key) ?? null,
    decide: (fate) => void (double.fate = fate),
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

class Double {
  readonly requests: GhostbayRequest[] = [];
  readonly buckets = new Map<string, Bucket>();
  readonly multiparts = new Map<string, Map<number, Buffer>>();
  bodyBytesMax = 0;
  fate: (request: GhostbayRequest) => Fate = () => 'serve';

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://ghostbay');
    const [, bucket = '', ...rest] = url.pathname.split('/').map(decodeURIComponent);
    const seen = {
      method: request.method ?? '',
      bucket,
      key: rest.join('/'),
      headers: request.headers,
      status: null as number | null,
    };
    this.requests.push(seen);
    const fate = this.fate(seen);
    if (fate === 'cut-before') return void request.socket.destroy();
    if (fate === 'hang-before') return;
    const body = await bufferBody(request);
    if (body === null) return void request.socket.destroy();
    this.bodyBytesMax = Math.max(this.bodyBytesMax, body.byteLength);
    const isSlash = url.pathname.endsWith('/') && url.pathname !== '/';
    const answer = fate === 'fail' ? failure(500) : isSlash ? notFound() : this.#answer(seen, url, body);
    if (fate === 'cut-after') return void request.socket.destroy();
    if (fate === 'hang-after') return;
    seen.status = answer.status;
    const half = answer.body?.subarray(0, answer.body.byteLength / 2) ?? Buffer.alloc(0);
    const sent = fate === 'cut-body' ? { ...answer, body: half, isCut: true } : answer;
    const encoding = String(request.headers['accept-encoding'] ?? '');
    send(sent, { method: seen.method, encoding }, response);
  }

  #answer(request: GhostbayRequest, url: URL, body: Buffer): Answer {
    const { method, bucket: name, key } = request;
    if (name === '') return json(200, { Owner: owner(), Buckets: { Bucket: [...this.buckets.keys()] } });
    if (name === 'health' && key === '') return json(200, { status: 'healthy', service: 'ghostbay' });
    if (key === '' && method === 'PUT') return this.#createBucket(name);
    const bucket = this.buckets.get(name);
    if (bucket === undefined) return failure(404, 'NoSuchBucket');
    if (key === '') return this.#bucketAnswer(name, bucket, { method, query: url.searchParams });
    const uploadId = url.searchParams.get('uploadId');
    if (url.searchParams.has('uploads') || uploadId !== null) {
      return this.#multipart(request, { bucket, uploadId, query: url.searchParams, body });
    }
    if (method === 'PUT') return put(bucket, key, body);
    if (method === 'DELETE') return remove(bucket, key);
    return read(bucket, key, String(request.headers.range ?? ''));
  }

  #createBucket(name: string): Answer {
    if (!/^[a-z0-9-]{3,63}$/.test(name)) return failure(400, 'InvalidBucketName');
    if (this.buckets.has(name)) return failure(409, 'BucketAlreadyExists');
    this.buckets.set(name, { rows: new Map(), files: new Map(), directories: new Set() });
    return { status: 200, headers: { location: `/${name}` } };
  }

  #bucketAnswer(
    name: string,
    bucket: Bucket,
    ask: { readonly method: string; readonly query: URLSearchParams },
  ): Answer {
    if (ask.method === 'DELETE') this.buckets.delete(name);
    if (ask.method === 'DELETE') return { status: 204 };
    const limit = Math.min(Number(ask.query.get('max-keys') ?? LISTED_KEYS_MAX), LISTED_KEYS_MAX);
    const pattern = like(`${ask.query.get('prefix') ?? ''}%`);
    const keys = [...bucket.rows.keys()]
      .filter((key) => pattern.test(key))
      .sort()
      .slice(0, limit);
    const contents = keys.map((key) => {
      const { etag, sizeBytes, updatedAt } = bucket.rows.get(key) as Row;
      const object = { Key: key, LastModified: updatedAt, ETag: etag, Size: sizeBytes };
      return { ...object, StorageClass: 'STANDARD', Owner: owner() };
    });
    const page = { KeyCount: contents.length, MaxKeys: limit, IsTruncated: false };
    return json(200, { Name: name, Prefix: ask.query.get('prefix'), ...page, Contents: contents });
  }

  #multipart(
    request: GhostbayRequest,
    ask: {
      readonly bucket: Bucket;
      readonly uploadId: string | null;
      readonly query: URLSearchParams;
      readonly body: Buffer;
    },
  ): Answer {
    const { bucket, uploadId, body } = ask;
    const { bucket: Bucket, key: Key, method } = request;
    if (uploadId === null) {
      const id = `mpu_${randomUUID()}`;
      this.multiparts.set(id, new Map());
      return json(200, { Bucket, Key, UploadId: id });
    }
    const parts = this.multiparts.get(uploadId);
    if (parts === undefined) return failure(404, 'NoSuchUpload');
    if (method === 'DELETE') return this.multiparts.delete(uploadId) ? { status: 204 } : failure(500);
    if (method === 'PUT') {
      const number = Number(ask.query.get('partNumber'));
      if (!(number >= 1 && number <= 10_000)) return failure(400, 'InvalidRequest');
      parts.set(number, body);
      return { status: 200, headers: { etag: quoted(md5(body)) } };
    }
    const numbers = completedParts(body);
    if (numbers === null) return failure(400, 'InvalidRequest');
    const done = put(
      bucket,
      Key,
      Buffer.concat(numbers.map((number) => parts.get(number) ?? Buffer.alloc(0))),
    );
    if (done.status !== 200) return done;
    this.multiparts.delete(uploadId);
    return json(200, { Location: `/${Bucket}/${Key}`, Bucket, Key, ETag: done.headers?.['etag'] });
  }
}

/** The file first, then the catalog, whose unique index fails when the key is there. */
function put(bucket: Bucket, key: string, body: Buffer): Answer {
  const parents = key
    .split('/')
    .slice(0, -1)
    .map((_, index, all) => all.slice(0, index + 1).join('/'));
  if (parents.some((path) => bucket.files.has(path)) || bucket.directories.has(key)) return failure(500);
  for (const path of parents) bucket.directories.add(path);
  bucket.files.set(key, body);
  if (bucket.rows.has(key)) return failure(500);
  const etag = md5(body);
  bucket.rows.set(key, { etag, sizeBytes: body.byteLength, updatedAt: new Date().toISOString() });
  return { status: 200, headers: { etag: quoted(etag) } };
}

function remove(bucket: Bucket, key: string): Answer {
  bucket.rows.delete(key);
  bucket.files.delete(key);
  return { status: 204 };
}

function read(bucket: Bucket, key: string, range: string): Answer {
  const body = bucket.files.get(key);
  if (body === undefined || !bucket.rows.has(key)) return failure(404, 'NoSuchKey');
  const headers = {
    'content-type': key.endsWith('.json') ? 'application/json' : 'binary/octet-stream',
    'content-length': String(body.byteLength),
    etag: quoted(String(body.byteLength)),
    'last-modified': new Date().toUTCString(),
  };
  if (!range.startsWith('bytes=')) return { status: 200, headers, body };
  return { status: 200, headers, body: Buffer.alloc(WRONG_BYTES, '?'), isCut: true };
}

function send(
  answer: Answer,
  asked: { readonly method: string; readonly encoding: string },
  response: ServerResponse,
): void {
  const { status, headers = {}, body = Buffer.alloc(0), isCut = false } = answer;
  const isCompressed = /\bgzip\b/.test(asked.encoding) && body.byteLength > 32 && !isCut;
  const { 'content-length': length = String(body.byteLength), ...others } = headers as Record<string, string>;
  response.writeHead(
    status,
    isCompressed ? { ...others, 'content-encoding': 'gzip' } : { ...others, 'content-length': length },
  );
  if (asked.method === 'HEAD') return void response.end();
  if (isCut) return void response.write(body, () => response.destroy());
  response.end(isCompressed ? gzipSync(body) : body);
}

async function bufferBody(request: IncomingMessage): Promise<Buffer | null> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of request) pieces.push(piece as Buffer);
    return Buffer.concat(pieces);
  } catch {
    return null;
  }
}

/** SQL's LIKE: `%` is anything, `_` one character, letters of either case. */
function like(pattern: string): RegExp {
  const source = pattern.split('').map((character) => {
    if (character === '%') return '[^]*';
    return character === '_' ? '[^]' : character.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&');
  });
  return new RegExp(`^${source.join('')}$`, 'i');
}

function completedParts(body: Buffer): number[] | null {
  try {
    const { CompleteMultipartUpload: complete } = JSON.parse(body.toString('utf8')) as {
      CompleteMultipartUpload: { Part: { PartNumber: number; ETag: string }[] };
    };
    return complete.Part.map(({ PartNumber: number }) => number);
  } catch {
    return null;
  }
}

function owner(): object {
  return { Id: 'ghostbay', DisplayName: 'GhostBay' };
}

function json(status: number, value: unknown): Answer {
  return {
    status,
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify(value)),
  };
}

function failure(status: number, code = 'InternalError'): Answer {
  return json(status, { Code: code, Message: code, RequestId: '00000000-0000-0000-0000-000000000000' });
}

/** What the router itself answers. */
function notFound(): Answer {
  return { status: 404 };
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}

function quoted(text: string): string {
  return `"${text}"`;
}
