/**
 * The errors that the registry can answer with: one row per kind, with the code that goes over the wire
 * (distribution-spec, "Error Codes"), the status, and the sentence used when the rule gives none.
 *
 * The key is our own name: several of our errors share a wire code but not a status (a chunk out of order is a
 * `BLOB_UPLOAD_INVALID` with 416, a malformed one with 400). Only `http/errors.ts` reads `status`.
 */
export const ERRORS = {
  BLOB_UNKNOWN: { wire: 'BLOB_UNKNOWN', status: 404, message: 'blob unknown to this repository' },
  BLOB_UPLOAD_INVALID: { wire: 'BLOB_UPLOAD_INVALID', status: 400, message: 'blob upload invalid' },
  BLOB_UPLOAD_UNKNOWN: {
    wire: 'BLOB_UPLOAD_UNKNOWN',
    status: 404,
    message: 'blob upload unknown to this repository',
  },
  /** A chunk that does not start where the upload stands (spec, "Pushing a blob in chunks"). */
  CHUNK_OUT_OF_ORDER: {
    wire: 'BLOB_UPLOAD_INVALID',
    status: 416,
    message: 'chunk does not start at the upload offset',
  },
  /** Another request holds this upload and did not let go in time. */
  UPLOAD_BUSY: {
    wire: 'BLOB_UPLOAD_INVALID',
    status: 409,
    message: 'another request is writing to this upload',
  },
  BLOB_TOO_LARGE: { wire: 'SIZE_INVALID', status: 413, message: 'blob is larger than this registry accepts' },
  RANGE_NOT_SATISFIABLE: { wire: 'SIZE_INVALID', status: 416, message: 'requested range not satisfiable' },
  RANGES_TOO_MANY: { wire: 'SIZE_INVALID', status: 400, message: 'too many or overlapping ranges' },
  DIGEST_INVALID: {
    wire: 'DIGEST_INVALID',
    status: 400,
    message: 'digest does not match the content, or is malformed',
  },
  MANIFEST_BLOB_UNKNOWN: {
    wire: 'MANIFEST_BLOB_UNKNOWN',
    status: 400,
    message: 'manifest references content unknown to this repository',
  },
  MANIFEST_INVALID: { wire: 'MANIFEST_INVALID', status: 400, message: 'manifest invalid' },
  MANIFEST_TOO_LARGE: {
    wire: 'SIZE_INVALID',
    status: 413,
    message: 'manifest is larger than this registry accepts',
  },
  MANIFEST_UNKNOWN: { wire: 'MANIFEST_UNKNOWN', status: 404, message: 'manifest unknown to this repository' },
  NAME_INVALID: { wire: 'NAME_INVALID', status: 400, message: 'invalid repository name' },
  NAME_UNKNOWN: { wire: 'NAME_UNKNOWN', status: 404, message: 'repository unknown to this registry' },
  TAG_INVALID: { wire: 'MANIFEST_INVALID', status: 400, message: 'invalid tag' },
  TAGS_TOO_MANY: { wire: 'MANIFEST_INVALID', status: 414, message: 'too many tags in one request' },
  PAGE_INVALID: { wire: 'UNSUPPORTED', status: 400, message: 'n must be a whole number, zero or more' },
  SIZE_INVALID: { wire: 'SIZE_INVALID', status: 400, message: 'provided length does not match the content' },
  UNAUTHORIZED: { wire: 'UNAUTHORIZED', status: 401, message: 'authentication required' },
  DENIED: { wire: 'DENIED', status: 403, message: 'requested access to the resource is denied' },
  REQUEST_INVALID: { wire: 'UNSUPPORTED', status: 400, message: 'malformed request' },
  NOT_FOUND: { wire: 'UNSUPPORTED', status: 404, message: 'no such endpoint' },
  METHOD_NOT_ALLOWED: { wire: 'UNSUPPORTED', status: 405, message: 'method not allowed here' },
  UNSUPPORTED: { wire: 'UNSUPPORTED', status: 405, message: 'the operation is unsupported' },
  PRECONDITION_FAILED: { wire: 'DENIED', status: 412, message: 'precondition failed' },
  TOOMANYREQUESTS: { wire: 'TOOMANYREQUESTS', status: 429, message: 'too many requests' },
  /** A body that stopped arriving (`limits.body_idle_seconds`). */
  REQUEST_TIMEOUT: { wire: 'UNSUPPORTED', status: 408, message: 'the request body stopped arriving' },
  STORAGE_FULL: { wire: 'UNAVAILABLE', status: 507, message: 'the registry has no room for new content' },
  UNAVAILABLE: {
    wire: 'UNAVAILABLE',
    status: 503,
    message: 'the registry cannot serve this request right now',
  },
  UNKNOWN: { wire: 'UNKNOWN', status: 500, message: 'internal error' },
} as const satisfies Record<string, { wire: string; status: number; message: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** What a 401 asks for: scopes in wire form, separated by spaces, and the RFC 6750 error where a token was sent. */
export interface Challenge {
  readonly scope: string | null;
  readonly error: 'invalid_token' | 'insufficient_scope' | null;
}

export interface RegistryErrorOptions {
  /** Goes into the `detail` of the error body: plain JSON, no secrets. */
  readonly detail?: unknown;
  readonly cause?: unknown;
  readonly challenge?: Challenge;
  /** Seconds for `Retry-After`. */
  readonly retryAfterSeconds?: number;
  /** Further response headers that the error must carry (`Location` and `Range` of a 416, `Allow` of a 405). */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The only error that rules throw for something the caller can act on. `message` is a sentence for a person. */
export class RegistryError extends Error {
  readonly code: ErrorCode;
  readonly detail: unknown;
  readonly challenge: Challenge | null;
  readonly retryAfterSeconds: number | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message?: string | null, options: RegistryErrorOptions = {}) {
    super(
      message ?? ERRORS[code].message,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = 'RegistryError';
    this.code = code;
    this.detail = options.detail ?? null;
    this.challenge = options.challenge ?? null;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
    this.headers = options.headers ?? {};
  }
}

/** The same error with more headers: the door knows paths that the rule does not. */
export function withHeaders(error: RegistryError, headers: Readonly<Record<string, string>>): RegistryError {
  return new RegistryError(error.code, error.message, {
    detail: error.detail,
    cause: error.cause,
    headers: { ...error.headers, ...headers },
    ...(error.challenge === null ? {} : { challenge: error.challenge }),
    ...(error.retryAfterSeconds === null ? {} : { retryAfterSeconds: error.retryAfterSeconds }),
  });
}
