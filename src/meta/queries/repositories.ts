import type { Kysely } from 'kysely';
import type { RepositoryName } from '../../oci/name.ts';
import type * as contract from '../meta-store.ts';
import type { Database } from '../schema.ts';

export class RepositoryReads implements contract.RepositoryReads {
  protected readonly db: Kysely<Database>;

  constructor(db: Kysely<Database>) {
    this.db = db;
  }

  async find(name: RepositoryName): Promise<contract.Repository | null> {
    const row = await this.db
      .selectFrom('repositories')
      .select(['id', 'name', 'created_at'])
      .where('name', '=', name)
      .executeTakeFirst();
    return row === undefined ? null : repositoryFromRow(row);
  }

  async list(query: { readonly after: string | null; readonly limit: number }): Promise<RepositoryName[]> {
    const rows = await this.db
      .selectFrom('repositories')
      .select('name')
      .where('name', '>', query.after ?? '')
      .where((eb) =>
        eb.exists(
          eb
            .selectFrom('manifests')
            .select('manifests.size_bytes')
            .whereRef('manifests.repository_id', '=', 'repositories.id')
            .where('manifests.deleted_at', 'is', null),
        ),
      )
      .orderBy('name')
      .limit(query.limit)
      .execute();
    return rows.map(({ name }) => name as RepositoryName);
  }
}

export class RepositoryQueries extends RepositoryReads implements contract.RepositoryWrites {
  async ensure(name: RepositoryName, by: string, at: number): Promise<contract.Repository> {
    const found = await this.find(name);
    if (found !== null) return found;
    await this.db
      .insertInto('repositories')
      .values({ name, created_at: at, created_by: by })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .execute();
    const made = await this.find(name);
    if (made === null) throw new Error('a repository that was just made is not there');
    return made;
  }

  /** Where one transaction writes at a time, each is alone. */
  findAlone(name: RepositoryName): Promise<contract.Repository | null> {
    return this.find(name);
  }
}

export function repositoryFromRow(row: {
  id: number;
  name: string;
  created_at: number;
}): contract.Repository {
  return {
    id: row.id as contract.RepositoryId,
    name: row.name as RepositoryName,
    createdAt: row.created_at,
  };
}
