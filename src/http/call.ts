import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Caller } from '../access/principal.ts';
import type { BlobBody, ByteRange } from '../blobs/blob-store.ts';

/** One request as the desks see it. Built by the door; nothing else reads `IncomingMessage`. */
export interface Call {
  readonly requestId: string;
  readonly method: string;
  /** Undecoded path, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: RequestBody;
  /** Aborts when the client goes away, the body stops arriving, or the process ends its drain. */
  readonly signal: AbortSignal;
  readonly address: string;
  /** `https://registry.example.com`: scheme and host as the client sees them. */
  readonly baseUrl: string;
  readonly caller: Caller;
  /** Fields that the request's log line gets (`repository`, `digest`, `mount`…): bounded, no secrets. */
  readonly note: (fields: Readonly<Record<string, string | number>>) => void;
}

export interface RequestBody {
  /** `Content-Length`, null when the client did not say (chunked). */
  readonly lengthBytes: number | null;
  /** No body at all, or `Content-Length: 0`. */
  readonly empty: boolean;
  /**
   * The bytes; iterated at most once. Sends `100 Continue` on first use. Counts bytes and watches the idle limit. A chunk is
   * filled again when the next one is asked for: copy what is to be kept.
   */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Ends `chunks`: what has arrived is still handed out, then the reader gets the error. */
  readonly fail: (error: Error) => void;
  /** The raw message, for Fastify only. */
  readonly message: IncomingMessage;
}

/** What a desk returns; only `http/reply.ts` writes it to a socket. For HEAD the same reply is sent without its body. */
export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body: ReplyBody;
}

export type ReplyBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'json'; readonly value: unknown }
  /** Length known from `sizeBytes` of what is sent. */
  | { readonly kind: 'blob'; readonly sizeBytes: number; readonly body: BlobBody }
  | {
      readonly kind: 'ranges';
      readonly mediaType: string;
      readonly sizeBytes: number;
      readonly ranges: readonly ByteRange[];
      readonly open: (range: ByteRange) => Promise<BlobBody>;
    };
