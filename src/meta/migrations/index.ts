import { core } from './001-core.ts';
import { unsettledBlobs } from './002-unsettled-blobs.ts';

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
}

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly statements: (words: SqlWords) => readonly string[];
}

/** In order; one that was released never changes. */
export const migrations: readonly Migration[] = [core, unsettledBlobs];

export const schemaVersion: number = migrations.length;
