/** Why a ledger cannot be opened. Each is one sentence for the person who starts the program. */
export class LedgerError extends Error {
  readonly file: string;

  constructor(file: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.file = file;
  }
}

/** A newer version of the program has migrated it. */
export class LedgerTooNew extends LedgerError {}

/** Not migrated yet: only a process that opens with `migrate` may change the schema. */
export class LedgerTooOld extends LedgerError {}

/** Not a database, or a damaged one. */
export class LedgerCorrupt extends LedgerError {}

/** The file or its directory cannot be opened or written. */
export class LedgerNotWritable extends LedgerError {}

/** The target of a backup exists already. */
export class BackupExists extends LedgerError {}
