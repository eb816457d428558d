import { Unavailable } from '../../std/unavailable.ts';

const PART = 'blob store';

interface Failure {
  readonly sentence: string;
  readonly retryable: boolean;
  readonly full?: boolean;
}

/** What the services answer, by their error codes; several servers have words of their own. */
const FAILURES: Readonly<Record<string, Failure>> = {
  NoSuchBucket: { sentence: 'the bucket does not exist', retryable: false },
  AccessDenied: { sentence: 'access is denied', retryable: false },
  Forbidden: { sentence: 'access is denied', retryable: false },
  AllAccessDisabled: { sentence: 'access is denied', retryable: false },
  InvalidAccessKeyId: { sentence: 'the access key is not known there', retryable: false },
  SignatureDoesNotMatch: { sentence: 'the secret key is wrong (or the region is)', retryable: false },
  AuthorizationHeaderMalformed: { sentence: 'the region is wrong', retryable: false },
  PermanentRedirect: { sentence: 'the bucket is in another region', retryable: false },
  ExpiredToken: { sentence: 'the credentials have expired', retryable: true },
  RequestTimeTooSkewed: {
    sentence: 'the clocks of this machine and of the service differ too much',
    retryable: false,
  },
  CredentialsProviderError: { sentence: 'no credentials were found', retryable: true },
  NoSuchUpload: { sentence: 'what was sent of it is not there any more', retryable: true },
  NoSuchKey: { sentence: 'what was staged of it is not there any more', retryable: true },
  SlowDown: { sentence: 'the service asks for fewer requests', retryable: true },
  QuotaExceeded: { sentence: 'the quota of the bucket is used up', retryable: true, full: true },
  XAmzQuotaExceeded: { sentence: 'the quota of the bucket is used up', retryable: true, full: true },
  XMinioAdminBucketQuotaExceeded: {
    sentence: 'the quota of the bucket is used up',
    retryable: true,
    full: true,
  },
  XMinioStorageFull: { sentence: 'no space is left there', retryable: true, full: true },
  ECONNREFUSED: { sentence: 'nothing listens at the endpoint', retryable: true },
  ENOTFOUND: { sentence: 'the name of the endpoint is not known', retryable: true },
  EAI_AGAIN: { sentence: 'the name of the endpoint cannot be resolved at the moment', retryable: true },
};

const TLS_CODE = /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;

/** A deadline that passed without an answer. */
export class NoAnswer extends Error {
  constructor(seconds: number) {
    super(`no answer within ${seconds} s`);
    this.name = 'NoAnswer';
  }
}

interface ServiceError extends Error {
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** Failures that are found out here, without an answer. */
const LOCAL_NAMES = new Set(['NoAnswer', 'CredentialsProviderError', 'TokenProviderError']);

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && (LOCAL_NAMES.has(error.name) || '$metadata' in error || 'code' in error);
}

export function statusOf(error: unknown): number | null {
  return isServiceError(error) ? (error.$metadata?.httpStatusCode ?? null) : null;
}

/** No such object or no such multipart upload; a missing bucket is no absence, where the service says so. */
export function isAbsent(error: unknown): boolean {
  return statusOf(error) === 404 && (error as Error).name !== 'NoSuchBucket';
}

export async function orNull<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

/** A condition of a write did not hold, or another write was under way at the same key. */
export function isConflict(error: unknown): boolean {
  return statusOf(error) === 412 || (isServiceError(error) && error.name === 'ConditionalRequestConflict');
}

export function isNotImplemented(error: unknown): boolean {
  return statusOf(error) === 501;
}

/** Whether the same request may succeed a moment later. An answer was a decision, unless the service was in trouble. */
export function isTransient(error: unknown): boolean {
  if (!isServiceError(error)) return false;
  const status = statusOf(error);
  if (error.name === 'CredentialsProviderError' || TLS_CODE.test(error.code ?? '')) return false;
  if (status === null || status === 429 || status === 408) return true;
  if (status === 501 || status === 507) return false;
  return (
    status >= 500 || status === 200 || ['SlowDown', 'RequestTimeout', 'InternalError'].includes(error.name)
  );
}

/** What a failed request means to callers; anything else (an abort, a mistake of ours) is passed on as it is. */
export function translated(error: unknown, action: string): unknown {
  if (!isServiceError(error) || error instanceof Unavailable) return error;
  const failure = failureOf(error);
  return new Unavailable(PART, `cannot ${action}: ${failure.sentence}`, {
    retryable: failure.retryable,
    full: failure.full ?? false,
    cause: error,
  });
}

function failureOf(error: ServiceError): Failure {
  const known = FAILURES[error.name] ?? FAILURES[error.code ?? ''];
  if (known !== undefined) return known;
  if (error.name === 'NoAnswer') return { sentence: error.message, retryable: true };
  if (TLS_CODE.test(error.code ?? '')) {
    return { sentence: `the certificate of the endpoint is not trusted (${error.code})`, retryable: false };
  }
  const status = statusOf(error);
  if (status === 301) return FAILURES['PermanentRedirect'] as Failure;
  if (status === null)
    return { sentence: `the connection failed (${error.code ?? error.name})`, retryable: true };
  if (status === 403) return FAILURES['AccessDenied'] as Failure;
  if (status === 507) return FAILURES['XMinioStorageFull'] as Failure;
  const said = error.name === 'Unknown' || error.name === '' ? '' : ` ${error.name}`;
  return { sentence: `the service answers ${status}${said}`, retryable: status >= 500 || status === 429 };
}

export function unavailable(message: string, retryable: boolean): Unavailable {
  return new Unavailable(PART, message, { retryable });
}
