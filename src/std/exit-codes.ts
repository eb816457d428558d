/**
 * What the program's exit tells a service manager: one code per cause, so that a script can tell them apart. The numbers
 * are those of sysexits.h where it has a word for it.
 */
export const EXIT = {
  OK: 0,
  /** A command ran and failed, or (fsck) found waste or damage that its output names. */
  FAILED: 1,
  /** The command line is not understood, or names a file to be made that is there already. */
  USAGE: 64,
  /** The database is damaged or no database. */
  LEDGER_CORRUPT: 65,
  /** Another program listens on the address. */
  PORT_IN_USE: 69,
  /** Workers crash again and again. */
  CRASH_LOOP: 70,
  /** The address may not be listened on, or is not one of this machine. */
  PORT_REFUSED: 71,
  /** The data directory cannot be read or written. */
  DATA_UNUSABLE: 73,
  /** The device of the data directory is full. */
  DATA_FULL: 74,
  /** Another primary serves this data. */
  ALREADY_RUNNING: 75,
  /** A newer version of the program has migrated the database. */
  LEDGER_TOO_NEW: 76,
  /** The configuration is wrong: starting again changes nothing. */
  CONFIG: 78,
  /** 128 + SIGINT: a second signal ended the drain. */
  INTERRUPTED: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
