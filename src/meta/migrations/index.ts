import { core } from './001-core.ts';
import { unsettledBlobs } from './002-unsettled-blobs.ts';
import { referrerDescriptors } from './003-referrer-descriptors.ts';

/** The few words in which the databases' table definitions differ. */
export interface SqlWords {
  /** A number given by the database, growing, never given twice; the primary key. */
  readonly id: string;
  /** Compared by its bytes. */
  readonly text: string;
  readonly integer: string;
  readonly bytes: string;
  /** Ends the definition of a table whose rows are short enough to live in their key's index. */
  readonly clustered: string;
  /** Columns at the end of an index, however long, that spare a read of the row. */
  readonly carried: (columns: string) => string;
  /** Text as a string of JSON, with its quotes. */
  readonly jsonText: (expression: string) => string;
  /** Bytes as lower-case hex. */
  readonly hex: (expression: string) => string;
}

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly statements: (words: SqlWords) => readonly string[];
}

/** In order; one that was released never changes. */
export const migrations: readonly Migration[] = [core, unsettledBlobs, referrerDescriptors];

export const schemaVersion: number = migrations.length;
