import type { Migration, SqlWords } from './index.ts';

/** Uploads that ended without becoming a blob, until the last of their bytes is surely taken away. */
export const endedUploads: Migration = {
  version: 7,
  name: 'ended-uploads',
  compatibleFrom: 5,
  statements: ({ text, integer, clustered }: SqlWords) => [
    `create table ended_uploads (id ${text} not null primary key, ended_at ${integer} not null)${clustered}`,
    'create index ended_uploads_at on ended_uploads (ended_at, id)',
  ],
};
