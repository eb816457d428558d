import type { Kysely } from 'kysely';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import { digestFromBytes, digestToBytes } from '../digest-bytes.ts';
import type * as contract from '../meta-store.ts';
import type { Database, TagTable } from '../schema.ts';

export class TagReads implements contract.TagReads {
  protected readonly db: Kysely<Database>;

  constructor(db: Kysely<Database>) {
    this.db = db;
  }

  async find(repository: contract.RepositoryId, tag: Tag): Promise<Digest | null> {
    const row = await this.db
      .selectFrom('tags')
      .select('digest')
      .where('repository_id', '=', repository)
      .where('name', '=', tag)
      .where('ended_at', 'is', null)
      .executeTakeFirst();
    return row === undefined ? null : digestFromBytes(row.digest);
  }

  async list(query: Parameters<contract.TagReads['list']>[0]): Promise<readonly Tag[]> {
    const rows = await this.db
      .selectFrom('tags')
      .select('name')
      .where('repository_id', '=', query.repository)
      .where('name', '>', query.after ?? '')
      .where('ended_at', 'is', null)
      .orderBy('name')
      .limit(query.limit)
      .execute();
    return rows.map((row) => row.name as Tag);
  }

  async onManifest(repository: contract.RepositoryId, digest: Digest): Promise<readonly Tag[]> {
    const rows = await this.db
      .selectFrom('tags')
      .select('name')
      .where('repository_id', '=', repository)
      .where('digest', '=', digestToBytes(digest))
      .where('ended_at', 'is', null)
      .orderBy('name')
      .execute();
    return rows.map((row) => row.name as Tag);
  }

  async history(repository: contract.RepositoryId, tag: Tag, limit: number) {
    const rows = await this.db
      .selectFrom('tags')
      .select(['name', 'digest', 'started_at', 'started_by', 'ended_at', 'ended_by', 'end_reason'])
      .where('repository_id', '=', repository)
      .where('name', '=', tag)
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
    return rows.map(intervalFromRow);
  }
}

export class TagQueries extends TagReads implements contract.TagWrites {
  /** Where somebody else has set the tag since, his row is in the way, and the transaction runs again. */
  async set(
    repository: contract.RepositoryId,
    change: contract.TagChange,
    by: string,
    at: number,
  ): Promise<void> {
    const { tag, before, digest } = change;
    if (before === digest) return;
    if (before !== null) await this.#close(repository, tag, { before, by, at, reason: 'moved' });
    await this.db
      .insertInto('tags')
      .values({
        repository_id: repository,
        name: tag,
        digest: digestToBytes(digest),
        started_at: at,
        started_by: by,
        ended_at: null,
        ended_by: null,
        end_reason: null,
      })
      .execute();
  }

  async end(
    repository: contract.RepositoryId,
    tag: Tag,
    by: string,
    at: number,
    reason: 'deleted' | 'manifest_deleted',
  ): Promise<Digest | null> {
    const before = await this.find(repository, tag);
    if (before !== null) await this.#close(repository, tag, { before, by, at, reason });
    return before;
  }

  /** Of what was found, and nothing else. */
  async #close(
    repository: contract.RepositoryId,
    tag: Tag,
    end: {
      readonly before: Digest;
      readonly by: string;
      readonly at: number;
      readonly reason: NonNullable<TagTable['end_reason']>;
    },
  ): Promise<void> {
    await this.db
      .updateTable('tags')
      .set({ ended_at: end.at, ended_by: end.by, end_reason: end.reason })
      .where('repository_id', '=', repository)
      .where('name', '=', tag)
      .where('digest', '=', digestToBytes(end.before))
      .where('ended_at', 'is', null)
      .execute();
  }
}

function intervalFromRow(row: Omit<TagTable, 'id' | 'repository_id'>): contract.TagInterval {
  return {
    name: row.name as Tag,
    digest: digestFromBytes(row.digest),
    startedAt: row.started_at,
    startedBy: row.started_by,
    endedAt: row.ended_at,
    endedBy: row.ended_by,
    endReason: row.end_reason,
  };
}
