import { LedgerCorrupt, LedgerError, LedgerTooNew } from '../meta/errors.ts';
import { EXIT } from '../std/exit-codes.ts';
import { Unavailable } from '../std/unavailable.ts';
import type { StartupFailure } from './ipc.ts';

/** A start that cannot succeed. `sentence` is all that the person at the terminal gets to read. */
export class StartupError extends Error {
  readonly failure: StartupFailure;

  constructor(failure: StartupFailure, cause?: unknown) {
    super(failure.sentence, cause === undefined ? undefined : { cause });
    this.name = 'StartupError';
    this.failure = failure;
  }
}

/** The sentence and the exit code for what went wrong; null: nothing that we foresaw. */
export function startupFailure(error: unknown): StartupFailure | null {
  if (error instanceof StartupError) return error.failure;
  if (isFull(error))
    return { sentence: `${sentenceOf(error)} Free some room on it.`, exitCode: EXIT.DATA_FULL };
  if (error instanceof LedgerTooNew) return { sentence: error.message, exitCode: EXIT.LEDGER_TOO_NEW };
  if (error instanceof LedgerCorrupt) return { sentence: error.message, exitCode: EXIT.LEDGER_CORRUPT };
  if (error instanceof LedgerError || error instanceof Unavailable) {
    return { sentence: sentenceOf(error), exitCode: EXIT.DATA_UNUSABLE };
  }
  return listenFailure(error);
}

function listenFailure(error: unknown): StartupFailure | null {
  if (!(error instanceof Error)) return null;
  const { code, syscall, address, port } = error as NodeJS.ErrnoException & {
    address?: string;
    port?: number;
  };
  // Under cluster the primary listens for its workers, and the error says `bind`.
  if (syscall !== 'listen' && syscall !== 'bind') return null;
  const where = `${address ?? ''}:${port ?? ''}`;
  if (code === 'EADDRINUSE') {
    return {
      sentence: `Another program listens on ${where} already: stop it, or choose another address.`,
      exitCode: EXIT.PORT_IN_USE,
    };
  }
  const why =
    code === 'EACCES'
      ? 'this user may not listen there'
      : code === 'EADDRNOTAVAIL'
        ? 'this machine has no such address'
        : `the system answers ${code ?? error.message}`;
  return { sentence: `Cannot listen on ${where}: ${why}.`, exitCode: EXIT.PORT_REFUSED };
}

function sentenceOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const sentence = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

function isFull(error: unknown): boolean {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    if (at instanceof Unavailable && at.full) return true;
    const { code, errcode } = at as NodeJS.ErrnoException & { errcode?: number };
    // 13 is SQLITE_FULL.
    if (code === 'ENOSPC' || code === 'EDQUOT' || (code === 'ERR_SQLITE_ERROR' && errcode === 13))
      return true;
  }
  return false;
}
