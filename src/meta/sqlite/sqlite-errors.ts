import { Unavailable } from '../../std/unavailable.ts';

/** Primary result codes, sqlite.org/rescode.html. */
const BUSY = 5;
const LOCKED = 6;
const CORRUPT = 11;
const FULL = 13;
const NOT_A_DATABASE = 26;
const SENTENCES: ReadonlyMap<number, string> = new Map([
  [8, 'the ledger is read-only'],
  [10, 'the device of the ledger failed to read or write'],
  [CORRUPT, 'the ledger is damaged: check it with fsck and restore a backup'],
  [14, 'the ledger cannot be opened'],
  [NOT_A_DATABASE, 'the ledger is not a database'],
]);

function primaryCode(error: unknown): number | null {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return null;
  return error.errcode & 0xff;
}

export function isBusy(error: unknown): boolean {
  const code = primaryCode(error);
  return code === BUSY || code === LOCKED;
}

export function isCorrupt(error: unknown): boolean {
  const code = primaryCode(error);
  return code === CORRUPT || code === NOT_A_DATABASE;
}

/** What the contract throws for this error of SQLite; a mistake of ours (a constraint, wrong SQL) stays what it is. */
export function fromSqlite(error: unknown): unknown {
  if (isBusy(error)) {
    return new Unavailable('meta store', 'the ledger is busy', { retryable: true, cause: error });
  }
  const code = primaryCode(error);
  if (code === FULL) {
    const message = 'the device of the ledger is full';
    return new Unavailable('meta store', message, { retryable: true, full: true, cause: error });
  }
  const sentence = code === null ? undefined : SENTENCES.get(code);
  if (sentence === undefined) return error;
  return new Unavailable('meta store', sentence, { retryable: false, cause: error });
}
