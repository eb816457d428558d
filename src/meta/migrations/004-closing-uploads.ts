import type { Migration, SqlWords } from './index.ts';

/** What an upload is being closed as: from then on its bytes stay what they are. */
export const closingUploads: Migration = {
  version: 4,
  name: 'closing-uploads',
  statements: ({ bytes }: SqlWords) => [`alter table uploads add column closing_as ${bytes}`],
};
