import { core } from './001-core.ts';
import { unsettledBlobs } from './002-unsettled-blobs.ts';
import { referrerDescriptors } from './003-referrer-descriptors.ts';
import { closingUploads } from './004-closing-uploads.ts';
import { nodes } from './005-nodes.ts';
import { movedBlobs } from './006-moved-blobs.ts';
import { endedUploads } from './007-ended-uploads.ts';

/** The few words in which the databases' table definitions differ. */
export interface SqlWords {
  /** A number given by the database, growing, never given twice; the primary key. */
  readonly id: string;
  /** Likewise in a table that is partitioned by `column`: what follows the name `id`, and what ends the list of columns. */
  readonly idWithin: (column: string) => { readonly column: string; readonly constraint: string };
  /** Compared by its bytes. */
  readonly text: string;
  readonly integer: string;
  readonly bytes: string;
  /** Ends the definition of a table whose rows are short enough to live in their key's index. */
  readonly clustered: string;
  /** Ends the definition of a table that is spread by the hash of a column, where the database does so. */
  readonly partitioned: (column: string) => string;
  /** The statements that make the parts of such a table. */
  readonly partitions: (table: string) => readonly string[];
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
  /**
   * The oldest schema whose programs may go on beside this one, while nodes are upgraded one after another. Absent: none
   * older, all nodes have to stop first.
   */
  readonly compatibleFrom?: number;
  readonly statements: (words: SqlWords) => readonly string[];
}

export function compatibleFrom(migration: Migration): number {
  return migration.compatibleFrom ?? migration.version;
}

/** In order; one that was released never changes. */
export const migrations: readonly Migration[] = [
  core,
  unsettledBlobs,
  referrerDescriptors,
  closingUploads,
  nodes,
  movedBlobs,
  endedUploads,
];

export const schemaVersion: number = Math.max(...migrations.map(({ version }) => version));
