import { type Kysely, sql } from 'kysely';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { digestFromBytesOrNull, digestToBytes } from '../digest-bytes.ts';
import type * as contract from '../meta-store.ts';
import { BlobQueries } from '../queries/blobs.ts';
import { writeGroups } from '../queries/groups.ts';
import { ManifestQueries, referrersPage } from '../queries/manifests.ts';
import { RepositoryQueries, repositoryFromRow } from '../queries/repositories.ts';
import { UploadQueries } from '../queries/uploads.ts';
import type { Database } from '../schema.ts';
import { postgresSurroundings } from './surroundings.ts';

/** Sets these locks apart from those of anything else in the database. */
const REPOSITORY_LOCKS = 0x6472;
const UPLOADS_LOCK = 0x6475;

/** The write side with what PostgreSQL needs beside: locks that others' transactions wait for. */
export function postgresWrites(db: Kysely<Database>): Omit<contract.MetaTransaction, 'afterCommit'> {
  return {
    ...writeGroups(db, postgresSurroundings(db)),
    uploads: new CountedUploads(db, postgresSurroundings(db)),
    repositories: new LockedRepositories(db),
    manifests: new WrittenManifests(db),
    blobs: new OrderedBlobs(db),
  };
}

/**
 * Who adds to a repository holds its lock together with others who do, who takes away from it holds it alone: what one
 * relies on is not taken away before it commits. The lock goes with the transaction.
 */
class LockedRepositories extends RepositoryQueries {
  override async ensure(name: RepositoryName, by: string, at: number): Promise<contract.Repository> {
    const found = await this.#locked(name, 'pg_advisory_xact_lock_shared');
    if (found !== null) return found;
    const made = await super.ensure(name, by, at);
    await this.#locked(name, 'pg_advisory_xact_lock_shared');
    return made;
  }

  override findAlone(name: RepositoryName): Promise<contract.Repository | null> {
    return this.#locked(name, 'pg_advisory_xact_lock');
  }

  async #locked(
    name: RepositoryName,
    lock: 'pg_advisory_xact_lock' | 'pg_advisory_xact_lock_shared',
  ): Promise<contract.Repository | null> {
    const row = await this.db
      .selectFrom('repositories')
      .select(['id', 'name', 'created_at'])
      .select(sql`${sql.raw(lock)}(${sql.lit(REPOSITORY_LOCKS)}, hashtext(name))`.as('locked'))
      .where('name', '=', name)
      .executeTakeFirst();
    return row === undefined ? null : repositoryFromRow(row);
  }
}

class CountedUploads extends UploadQueries {
  override async countAlone(): Promise<number> {
    await sql`select pg_advisory_xact_lock(${sql.lit(UPLOADS_LOCK)}, 0)`.execute(this.db);
    return this.count();
  }
}

/** Two that touch the same blobs do so in the same order: neither waits for what the other will not let go. */
class OrderedBlobs extends BlobQueries {
  override async touchAmong(digests: readonly Digest[], at: number): Promise<ReadonlySet<Digest>> {
    if (digests.length > 1) {
      await this.db
        .selectFrom('blobs')
        .select('state')
        .where('digest', 'in', digests.map(digestToBytes))
        .orderBy('digest')
        .forNoKeyUpdate()
        .execute();
    }
    return super.touchAmong(digests, at);
  }
}

/** PostgreSQL has no greatest of bytes, and orders what it gathers only when told to. */
export async function referrersText(
  db: Kysely<Database>,
  query: contract.ReferrersQuery,
): Promise<contract.ReferrersText> {
  const row = await db
    .selectFrom(referrersPage(db, query).as('page'))
    .select([
      sql<string | null>`string_agg(descriptor, ',' order by digest)`.as('text'),
      sql<Uint8Array | null>`(array_agg(digest order by digest desc))[1]`.as('last'),
    ])
    .executeTakeFirstOrThrow();
  return { text: row.text ?? '', last: digestFromBytesOrNull(row.last) };
}

class WrittenManifests extends ManifestQueries {
  override referrersText(query: contract.ReferrersQuery): Promise<contract.ReferrersText> {
    return referrersText(this.db, query);
  }
}
