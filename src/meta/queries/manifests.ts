import { type Kysely, type SelectQueryBuilder, sql } from 'kysely';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { digestFromBytes, digestFromBytesOrNull, digestToBytes } from '../digest-bytes.ts';
import type * as contract from '../meta-store.ts';
import type { Database, ReferenceKind } from '../schema.ts';
import { pagesOf } from './pages.ts';

const NO_BYTES = new Uint8Array(0);
const NEEDS_TARGET: readonly ReferenceKind[] = ['config', 'layer', 'child', 'blob_child', 'foreign'];

export class ManifestReads implements contract.ManifestReads {
  protected readonly db: Kysely<Database>;

  constructor(db: Kysely<Database>) {
    this.db = db;
  }

  async getByTag(repository: RepositoryName, tag: Tag): Promise<contract.StoredManifest | null> {
    const row = await this.db
      .selectFrom('repositories as r')
      .innerJoin('tags as t', 't.repository_id', 'r.id')
      .innerJoin('manifests as m', (join) =>
        join.onRef('m.repository_id', '=', 't.repository_id').onRef('m.digest', '=', 't.digest'),
      )
      .select(['m.digest', 'm.media_type', 'm.size_bytes', 'm.bytes'])
      .where('r.name', '=', repository)
      .where('t.name', '=', tag)
      .where('t.ended_at', 'is', null)
      .where('m.deleted_at', 'is', null)
      .executeTakeFirst();
    return row === undefined ? null : storedFromRow(row);
  }

  async getByDigest(repository: RepositoryName, digest: Digest): Promise<contract.StoredManifest | null> {
    const row = await this.db
      .selectFrom('repositories as r')
      .innerJoin('manifests as m', 'm.repository_id', 'r.id')
      .select(['m.digest', 'm.media_type', 'm.size_bytes', 'm.bytes'])
      .where('r.name', '=', repository)
      .where('m.digest', '=', digestToBytes(digest))
      .where('m.deleted_at', 'is', null)
      .executeTakeFirst();
    return row === undefined ? null : storedFromRow(row);
  }

  async state(repository: contract.RepositoryId, digest: Digest): Promise<contract.ManifestState | null> {
    const row = await this.db
      .selectFrom('manifests')
      .select(['digest', 'media_type', 'size_bytes', 'deleted_at'])
      .where('repository_id', '=', repository)
      .where('digest', '=', digestToBytes(digest))
      .executeTakeFirst();
    return row === undefined ? null : { ...headFromRow(row), live: row.deleted_at === null };
  }

  async liveAmong(
    repository: contract.RepositoryId,
    digests: readonly Digest[],
  ): Promise<ReadonlySet<Digest>> {
    const live = new Set<Digest>();
    for (const page of pagesOf(digests)) {
      const rows = await this.db
        .selectFrom('manifests')
        .select('digest')
        .where('repository_id', '=', repository)
        .where('digest', 'in', page.map(digestToBytes))
        .where('deleted_at', 'is', null)
        .execute();
      for (const row of rows) live.add(digestFromBytes(row.digest));
    }
    return live;
  }

  async references(
    repository: contract.RepositoryId,
    digest: Digest,
  ): Promise<readonly contract.ManifestReference[]> {
    const rows = await this.db
      .selectFrom('manifest_references')
      .select(['kind', 'position', 'target', 'media_type', 'size_bytes'])
      .where('repository_id', '=', repository)
      .where('manifest', '=', digestToBytes(digest))
      .orderBy('kind')
      .orderBy('position')
      .execute();
    return rows.map((row) => ({
      kind: row.kind,
      position: row.position,
      target: digestFromBytes(row.target),
      mediaType: row.media_type,
      sizeBytes: row.size_bytes,
    }));
  }

  async referrersSize(query: contract.ReferrersQuery): Promise<contract.ReferrersSize> {
    const { count, bytes } = await referrersSize(this.db, query).executeTakeFirstOrThrow();
    return { count, bytes };
  }

  async referrersText(query: contract.ReferrersQuery): Promise<contract.ReferrersText> {
    return referrersTextFromRow(await referrersText(this.db, query).executeTakeFirstOrThrow());
  }

  async referencedBy(repository: contract.RepositoryId, target: Digest): Promise<Digest | null> {
    const row = await this.#liveReferences(repository, target)
      .select('m.digest')
      .where('r.kind', 'in', NEEDS_TARGET)
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? null : digestFromBytes(row.digest);
  }

  async parents(query: Parameters<contract.ManifestReads['parents']>[0]): Promise<readonly Digest[]> {
    // An index may name one child twice: the group folds them, in the order of the index.
    const rows = await this.#liveReferences(query.repository, query.target)
      .select('r.manifest')
      .where('r.kind', '=', 'child')
      .where('r.manifest', '>', afterBytes(query.after))
      .groupBy('r.manifest')
      .orderBy('r.manifest')
      .limit(query.limit)
      .execute();
    return rows.map((row) => digestFromBytes(row.manifest));
  }

  async scan(
    after: contract.ManifestScanEntry | null,
    limit: number,
  ): Promise<readonly contract.ManifestScanEntry[]> {
    const rows = await this.db
      .selectFrom('manifests as m')
      .innerJoin('repositories as r', 'r.id', 'm.repository_id')
      .select([
        'm.repository_id',
        'r.name',
        'm.digest',
        'm.media_type',
        'm.size_bytes',
        'm.bytes',
        'm.deleted_at',
      ])
      .where((eb) =>
        eb(
          eb.refTuple('m.repository_id', 'm.digest'),
          '>',
          eb.tuple(after?.repositoryId ?? 0, afterBytes(after?.digest ?? null)),
        ),
      )
      .orderBy('m.repository_id')
      .orderBy('m.digest')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      ...storedFromRow(row),
      repositoryId: row.repository_id as contract.RepositoryId,
      repository: row.name as RepositoryName,
      live: row.deleted_at === null,
    }));
  }

  #liveReferences(repository: contract.RepositoryId, target: Digest): LiveReferences {
    return this.db
      .selectFrom('manifest_references as r')
      .innerJoin('manifests as m', (join) =>
        join.onRef('m.repository_id', '=', 'r.repository_id').onRef('m.digest', '=', 'r.manifest'),
      )
      .where('r.repository_id', '=', repository)
      .where('r.target', '=', digestToBytes(target))
      .where('m.deleted_at', 'is', null);
  }
}

export function referrersSize(db: Kysely<Database>, query: contract.ReferrersQuery) {
  return db
    .selectFrom(referrersPage(db, query).as('page'))
    .select((eb) => [
      eb.fn.countAll<number>().as('count'),
      sql<number>`coalesce(sum(octet_length(descriptor)), 0)`.as('bytes'),
    ]);
}

interface ReferrersTextRow {
  readonly text: string | null;
  readonly last: Uint8Array | null;
}

/** The rows come in the order of the page within, which is that of its index. */
export function referrersText(db: Kysely<Database>, query: contract.ReferrersQuery) {
  return db
    .selectFrom(referrersPage(db, query).as('page'))
    .select([
      sql<ReferrersTextRow['text']>`string_agg(descriptor, ',')`.as('text'),
      sql<ReferrersTextRow['last']>`max(digest)`.as('last'),
    ]);
}

export function referrersTextFromRow(row: ReferrersTextRow): contract.ReferrersText {
  return { text: row.text ?? '', last: digestFromBytesOrNull(row.last) };
}

export function referrersPage(db: Kysely<Database>, query: contract.ReferrersQuery) {
  const { artifactType } = query;
  return db
    .selectFrom('manifests')
    .select(['digest', 'descriptor'])
    .where('repository_id', '=', query.repository)
    .where('subject', '=', digestToBytes(query.subject))
    .where('digest', '>', afterBytes(query.after))
    .where('deleted_at', 'is', null)
    .$if(artifactType !== null, (builder) => builder.where('artifact_type', '=', artifactType))
    .orderBy('digest')
    .limit(query.limit);
}

type Joined = Database & { r: Database['manifest_references']; m: Database['manifests'] };
type LiveReferences = SelectQueryBuilder<Joined, 'r' | 'm', object>;

export class ManifestQueries extends ManifestReads implements contract.ManifestWrites {
  async put(
    repository: contract.RepositoryId,
    manifest: contract.NewManifest,
    by: string,
    at: number,
  ): Promise<boolean> {
    const { subject } = manifest;
    const digest = digestToBytes(manifest.digest);
    const stored = await this.db
      .insertInto('manifests')
      .values({
        repository_id: repository,
        digest,
        media_type: manifest.mediaType,
        size_bytes: manifest.sizeBytes,
        bytes: manifest.bytes,
        artifact_type: manifest.artifactType,
        subject: subject === null ? null : digestToBytes(subject),
        descriptor: manifest.descriptor,
        pushed_at: at,
        pushed_by: by,
        deleted_at: null,
        deleted_by: null,
      })
      .onConflict((conflict) =>
        conflict
          .columns(['repository_id', 'digest'])
          .doUpdateSet({ deleted_at: null, deleted_by: null })
          .whereRef('manifests.media_type', '=', 'excluded.media_type'),
      )
      .executeTakeFirst();
    if ((stored.numInsertedOrUpdatedRows ?? 0n) === 0n) return false;
    for (const references of pagesOf(manifest.references)) {
      await this.db
        .insertInto('manifest_references')
        .values(
          references.map((reference) => ({
            repository_id: repository,
            manifest: digest,
            kind: reference.kind,
            position: reference.position,
            target: digestToBytes(reference.target),
            media_type: reference.mediaType,
            size_bytes: reference.sizeBytes,
          })),
        )
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    }
    return true;
  }

  async delete(repository: contract.RepositoryId, digest: Digest, by: string, at: number): Promise<boolean> {
    const result = await this.db
      .updateTable('manifests')
      .set({ deleted_at: at, deleted_by: by })
      .where('repository_id', '=', repository)
      .where('digest', '=', digestToBytes(digest))
      .where('deleted_at', 'is', null)
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }
}

interface HeadRow {
  readonly digest: Uint8Array;
  readonly media_type: string;
  readonly size_bytes: number;
}

function headFromRow(row: HeadRow): contract.ManifestHead {
  return { digest: digestFromBytes(row.digest), mediaType: row.media_type, sizeBytes: row.size_bytes };
}

function storedFromRow(row: HeadRow & { readonly bytes: Uint8Array }): contract.StoredManifest {
  return { ...headFromRow(row), bytes: row.bytes };
}

function afterBytes(digest: Digest | null): Uint8Array {
  return digest === null ? NO_BYTES : digestToBytes(digest);
}
