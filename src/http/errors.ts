import type { Challenge } from '../oci/error-codes.ts';
import { ERRORS, RegistryError } from '../oci/error-codes.ts';
import { Unavailable } from '../std/unavailable.ts';
import type { Reply } from './call.ts';

export interface ErrorContext {
  readonly baseUrl: string;
  /** `service` of the challenge. */
  readonly service: string;
  readonly requestId: string;
}

/** `Retry-After` of a 503 whose cause gave no time of its own. */
const RETRY_AFTER_SECONDS = 5;

/**
 * The only place that turns errors into statuses. Whatever is not a `RegistryError` or `Unavailable` is answered as
 * UNKNOWN with nothing but the request id: its text may name files or hosts, so it goes to the log alone.
 */
export function renderError(error: unknown, context: ErrorContext): Reply {
  if (error instanceof RegistryError) return renderRegistryError(error, context);
  if (error instanceof Unavailable) return renderRegistryError(fromUnavailable(error), context);
  return renderRegistryError(
    new RegistryError('UNKNOWN', 'internal error: the registry log has more under this request id'),
    context,
  );
}

/** Whether the log must get the stack: the caller cannot act on it, somebody here has to. */
export function isOurFault(error: unknown): boolean {
  return error instanceof RegistryError ? ERRORS[error.code].status === 500 : true;
}

function fromUnavailable(error: Unavailable): RegistryError {
  const options = { cause: error, retryAfterSeconds: RETRY_AFTER_SECONDS };
  // The message of `Unavailable` may hold a path or an address; the part's name does not.
  if (error.full) return new RegistryError('STORAGE_FULL', null, options);
  return new RegistryError(
    'UNAVAILABLE',
    `the ${error.part} cannot serve this request right now; try again`,
    options,
  );
}

function renderRegistryError(error: RegistryError, context: ErrorContext): Reply {
  const { wire, status } = ERRORS[error.code];
  const headers: Record<string, string> = { ...error.headers, 'Content-Type': 'application/json' };
  // The token endpoint brings its own: it takes Basic and nothing else.
  const challenged = error.challenge !== null || error.code === 'UNAUTHORIZED';
  if (challenged && headers['WWW-Authenticate'] === undefined) {
    headers['WWW-Authenticate'] = writeChallenge(error.challenge, context);
  }
  if (error.retryAfterSeconds !== null) {
    headers['Retry-After'] = String(Math.max(1, Math.ceil(error.retryAfterSeconds)));
  } else if (status === 503) {
    headers['Retry-After'] = String(RETRY_AFTER_SECONDS);
  }
  const detail = error.detail ?? (status >= 500 ? { requestId: context.requestId } : null);
  return {
    status,
    headers,
    body: { kind: 'json', value: { errors: [{ code: wire, message: error.message, detail }] } },
  };
}

/** One scheme per response: clients take the first that they know. */
function writeChallenge(challenge: Challenge | null, context: ErrorContext): string {
  const parts = [`realm=${quote(`${context.baseUrl}/token`)}`, `service=${quote(context.service)}`];
  if (challenge?.scope) parts.push(`scope=${quote(challenge.scope)}`);
  if (challenge?.error) parts.push(`error=${quote(challenge.error)}`);
  return `Bearer ${parts.join(',')}`;
}

/** A quoted-string (RFC 9110, 5.6.4) that holds no octet which a header may not. */
function quote(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, '').replace(/["\\]/g, '\\$&')}"`;
}
