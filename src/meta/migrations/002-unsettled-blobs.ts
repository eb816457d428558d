import type { Migration } from './index.ts';

/** Blobs that are about to come or to go are few, whatever the number of those that are there. */
export const unsettledBlobs: Migration = {
  version: 2,
  name: 'unsettled-blobs',
  statements: () => ["create index blobs_unsettled on blobs (touched_at, digest) where state <> 'present'"],
};
