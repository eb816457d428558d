import type { Kysely } from 'kysely';
import type { MetaReads, MetaTransaction } from '../meta-store.ts';
import type { Database } from '../schema.ts';
import { AccessQueries, AccessReads } from './access.ts';
import { BlobQueries, BlobReads } from './blobs.ts';
import { LeaseQueries } from './leases.ts';
import { ManifestQueries, ManifestReads } from './manifests.ts';
import { NodeQueries, NodeReads } from './nodes.ts';
import { QueueQueries, QueueReads } from './queues.ts';
import { RepositoryQueries, RepositoryReads } from './repositories.ts';
import type { Surroundings } from './surroundings.ts';
import { TagQueries, TagReads } from './tags.ts';
import { UploadQueries, UploadReads } from './uploads.ts';

export function readGroups(db: Kysely<Database>, now: Surroundings['now']): MetaReads {
  return {
    repositories: new RepositoryReads(db),
    manifests: new ManifestReads(db),
    tags: new TagReads(db),
    blobs: new BlobReads(db),
    uploads: new UploadReads(db),
    access: new AccessReads(db),
    queues: new QueueReads(db),
    nodes: new NodeReads(db, now),
  };
}

export function writeGroups(
  db: Kysely<Database>,
  surroundings: Surroundings,
): Omit<MetaTransaction, 'afterCommit'> {
  return {
    repositories: new RepositoryQueries(db),
    manifests: new ManifestQueries(db),
    tags: new TagQueries(db),
    blobs: new BlobQueries(db),
    uploads: new UploadQueries(db, surroundings),
    access: new AccessQueries(db),
    queues: new QueueQueries(db),
    leases: new LeaseQueries(db, surroundings),
    nodes: new NodeQueries(db, surroundings),
    publish: (notice) => surroundings.publish(notice),
  };
}
