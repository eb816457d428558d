import type { Migration, SqlWords } from './index.ts';

/** Where blobs stood before they moved to another store, so that their old bytes can be removed when nobody reads them. */
export const movedBlobs: Migration = {
  version: 6,
  name: 'moved-blobs',
  compatibleFrom: 5,
  statements: ({ text, integer, bytes, clustered }: SqlWords) => [
    `create table moved_blobs (
      location ${text} not null primary key,
      digest ${bytes} not null,
      moved_at ${integer} not null)${clustered}`,
    'create index moved_blobs_at on moved_blobs (moved_at)',
  ],
};
