import pg from 'pg';
import { Unavailable } from '../../std/unavailable.ts';

/** SQLSTATE, postgresql.org/docs/current/errcodes-appendix.html. */
const SERIALIZATION_FAILURE = '40001';
const DEADLOCK_DETECTED = '40P01';
const UNIQUE_VIOLATION = '23505';
const REFUSED = '28';
/** The database itself says that it cannot now, and why. Classes (two characters) and single codes. */
const SENTENCES: ReadonlyMap<string, string> = new Map([
  ['08', 'the connection to the database broke'],
  ['25006', 'the database is read-only: it is a standby, or about to become one'],
  [REFUSED, 'the database refuses this user'],
  ['3D000', 'there is no such database'],
  ['53300', 'the database has no connection left'],
  ['53', 'the database lacks resources'],
  ['55P03', 'the database is busy: a lock was not to be had in time'],
  ['57014', 'the database took too long'],
  ['57', 'the database is shutting down or starting'],
  ['58', 'the database failed to read or write'],
  ['XX', 'the database is damaged: check its log'],
]);
const FULL = '53100';
const FINAL = new Set([REFUSED, '3D000', 'XX']);
/** What node says of a socket, and pg of a connection. */
const LOST_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT',
]);
/** Of node's TLS, and pg's for a server that speaks none. */
const UNTRUSTED = /^(CERT_|ERR_TLS_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_)/;
const NO_TLS = /does not support SSL connections/;
const NONE_FREE = /^timeout exceeded when trying to connect/;
const LOST_MESSAGES =
  /^(Connection terminated|timeout e|Query read timeout|Client has encountered|Client was closed)/;

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return typeof code === 'string' ? code : '';
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : '';
}

/** Nothing came of the transaction, and run once more it may well end. */
export function isWorthAnotherRun(error: unknown): boolean {
  const code = codeOf(error);
  // Two that made the same thing at once: the second run finds it.
  return code === SERIALIZATION_FAILURE || code === DEADLOCK_DETECTED || code === UNIQUE_VIOLATION;
}

/** The connection is gone, or was never made: nobody knows what became of the statement. */
export function isConnectionLost(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof AggregateError) return error.errors.some(isConnectionLost);
  const code = codeOf(error);
  const isServersFarewell = code.startsWith('08') || code.startsWith('57P');
  return LOST_CODES.has(code) || isServersFarewell || LOST_MESSAGES.test(error.message);
}

/** Every connection was with somebody else for as long as one may wait. */
export function isNoneFree(error: unknown): boolean {
  return error instanceof Error && NONE_FREE.test(error.message);
}

/** Said by the database, or by a pooler before it: somebody is there, and is not about to go. */
export function isAnswer(error: unknown): boolean {
  return error instanceof pg.DatabaseError && !codeOf(error).startsWith('57P');
}

/** What the contract throws for this error; a mistake of ours (a constraint, wrong SQL) stays what it is. */
export function fromPostgres(error: unknown): unknown {
  if (error instanceof Unavailable) return error;
  const code = codeOf(error);
  const full = code === FULL;
  if (full) return unavailable('the disk of the database is full', error, { retryable: true, full });
  for (const known of [code, code.slice(0, 2)]) {
    const sentence = SENTENCES.get(known);
    if (sentence === undefined) continue;
    // The database says more than that to whoever may read this: the host, the user and whether TLS was on.
    const reason = known === REFUSED ? `${sentence}: ${reasonOf(error)}` : sentence;
    return unavailable(reason, error, { retryable: !FINAL.has(known) });
  }
  if (UNTRUSTED.test(code) || NO_TLS.test(reasonOf(error))) {
    const sentence = `TLS with the database does not come about: ${reasonOf(error)}`;
    return unavailable(sentence, error, { retryable: false });
  }
  if (isWorthAnotherRun(error)) return unavailable('the ledger is busy', error, { retryable: true });
  if (!isConnectionLost(error)) return error;
  return unavailable('the database does not answer', error, { retryable: true });
}

function unavailable(
  message: string,
  cause: unknown,
  options: { readonly retryable: boolean; readonly full?: boolean },
): Unavailable {
  return new Unavailable('meta store', message, { ...options, cause });
}
