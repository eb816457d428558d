import { type ExpressionBuilder, type Kysely, sql } from 'kysely';
import type { BlobLocation } from '../../blobs/blob-store.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { digestFromBytes, digestToBytes } from '../digest-bytes.ts';
import type * as contract from '../meta-store.ts';
import type { BlobState, BlobTable, Database } from '../schema.ts';
import { pagesOf } from './pages.ts';

const NO_BYTES = new Uint8Array(0);

export class BlobReads implements contract.BlobReads {
  protected readonly db: Kysely<Database>;

  constructor(db: Kysely<Database>) {
    this.db = db;
  }

  async findLinked(repository: RepositoryName, digest: Digest): Promise<contract.LinkedBlob | null> {
    const row = await this.db
      .selectFrom('repositories as r')
      .innerJoin('links as l', 'l.repository_id', 'r.id')
      .innerJoin('blobs as b', 'b.digest', 'l.digest')
      .select(['b.digest', 'b.size_bytes', 'b.location', 'b.touched_at'])
      .where('r.name', '=', repository)
      .where('l.digest', '=', digestToBytes(digest))
      .where('b.state', '=', 'present')
      .executeTakeFirst();
    return row === undefined ? null : linkedFromRow(row);
  }

  async find(digest: Digest): Promise<contract.StoredBlobRow | null> {
    const row = await this.db
      .selectFrom('blobs')
      .selectAll()
      .where('digest', '=', digestToBytes(digest))
      .executeTakeFirst();
    return row === undefined ? null : blobFromRow(row);
  }

  async linkedAmong(
    repository: contract.RepositoryId,
    digests: readonly Digest[],
  ): Promise<ReadonlySet<Digest>> {
    const linked = new Set<Digest>();
    for (const page of pagesOf(digests)) {
      const rows = await this.db
        .selectFrom('links as l')
        .innerJoin('blobs as b', 'b.digest', 'l.digest')
        .select('l.digest')
        .where('l.repository_id', '=', repository)
        .where('l.digest', 'in', page.map(digestToBytes))
        .where('b.state', '=', 'present')
        .execute();
      for (const row of rows) linked.add(digestFromBytes(row.digest));
    }
    return linked;
  }

  /** Sorts the repositories that link one blob: names are not in the links, and their number is that of its copies. */
  async repositoriesLinking(
    digest: Digest,
    after: string | null,
    limit: number,
  ): Promise<readonly RepositoryName[]> {
    const rows = await this.db
      .selectFrom('links as l')
      .innerJoin('blobs as b', 'b.digest', 'l.digest')
      .innerJoin('repositories as r', 'r.id', 'l.repository_id')
      .select('r.name')
      .where('l.digest', '=', digestToBytes(digest))
      .where('b.state', '=', 'present')
      .where('r.name', '>', after ?? '')
      .orderBy('r.name')
      .limit(limit)
      .execute();
    return rows.map((row) => row.name as RepositoryName);
  }

  async scan(after: Digest | null, limit: number): Promise<readonly contract.StoredBlobRow[]> {
    const rows = await this.db
      .selectFrom('blobs')
      .selectAll()
      .where('digest', '>', after === null ? NO_BYTES : digestToBytes(after))
      .orderBy('digest')
      .limit(limit)
      .execute();
    return rows.map(blobFromRow);
  }

  async leftBehind(limit: number): Promise<readonly contract.LeftBehind[]> {
    const rows = await this.db
      .selectFrom('moved_blobs')
      .selectAll()
      .orderBy('moved_at')
      .orderBy('location')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      digest: digestFromBytes(row.digest),
      location: row.location as BlobLocation,
      movedAt: row.moved_at,
    }));
  }

  async scanLinks(
    after: contract.LinkScanEntry | null,
    limit: number,
  ): Promise<readonly contract.LinkScanEntry[]> {
    const rows = await this.db
      .selectFrom('links as l')
      .innerJoin('repositories as r', 'r.id', 'l.repository_id')
      .leftJoin('blobs as b', 'b.digest', 'l.digest')
      .select(['l.repository_id', 'r.name', 'l.digest', 'b.state'])
      .where((eb) =>
        eb(
          eb.refTuple('l.repository_id', 'l.digest'),
          '>',
          eb.tuple(after?.repositoryId ?? 0, after === null ? NO_BYTES : digestToBytes(after.digest)),
        ),
      )
      .orderBy('l.repository_id')
      .orderBy('l.digest')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      repositoryId: row.repository_id as contract.RepositoryId,
      repository: row.name as RepositoryName,
      digest: digestFromBytes(row.digest),
      blobState: row.state,
    }));
  }
}

export class BlobQueries extends BlobReads implements contract.BlobWrites {
  async claim(bytes: contract.PlacedBytes, at: number) {
    const key = digestToBytes(bytes.digest);
    await this.db
      .insertInto('blobs')
      .values({
        digest: key,
        size_bytes: bytes.sizeBytes,
        location: bytes.location,
        state: 'placing',
        created_at: at,
        touched_at: at,
      })
      .onConflict((conflict) => conflict.column('digest').doNothing())
      .execute();
    const row = await this.db
      .updateTable('blobs')
      .set({ touched_at: later(at) })
      .where('digest', '=', key)
      .where('state', '!=', 'deleting')
      .returning(['state', 'location'])
      .executeTakeFirst();
    if (row === undefined) return 'deleting';
    return { present: row.state === 'present' ? (row.location as BlobLocation) : null };
  }

  async place(bytes: contract.PlacedBytes, replaces: BlobLocation | null, at: number) {
    const { location, sizeBytes } = bytes;
    const key = digestToBytes(bytes.digest);
    const placed = await this.db
      .updateTable('blobs')
      .set({ state: 'present', size_bytes: sizeBytes, location, touched_at: later(at) })
      .where('digest', '=', key)
      .where((eb) =>
        eb.or([
          eb('state', '=', 'placing'),
          eb('state', '=', 'present').and('location', 'in', [location, replaces ?? location]),
        ]),
      )
      .executeTakeFirst();
    if (placed.numUpdatedRows > 0n) return location;
    const other = await this.db
      .updateTable('blobs')
      .set({ touched_at: later(at) })
      .where('digest', '=', key)
      .where('state', '=', 'present')
      .returning('location')
      .executeTakeFirst();
    return other === undefined ? null : (other.location as BlobLocation);
  }

  async abandon(query: contract.AbandonQuery): Promise<readonly contract.StoredBlobRow[]> {
    const { claimedBefore, markedBefore, at } = query;
    // The state stands in the text, not as a parameter: only so does the database see that its partial index will do.
    const found = await this.db
      .selectFrom('blobs')
      .select('digest')
      .where('state', '<>', sql.lit<BlobState>('present'))
      .where('touched_at', '<', Math.max(claimedBefore, markedBefore))
      .where((eb) => isAbandoned(eb, query))
      .orderBy('touched_at')
      .orderBy('digest')
      .limit(query.limit)
      .execute();
    const marked: contract.StoredBlobRow[] = [];
    for (const page of pagesOf(found.map((row) => row.digest))) {
      const rows = await this.db
        .updateTable('blobs')
        .set({ state: 'deleting', touched_at: at })
        .where('digest', 'in', page)
        .where((eb) => isAbandoned(eb, query))
        .returningAll()
        .execute();
      marked.push(...rows.map(blobFromRow));
    }
    return marked;
  }

  async forget(digest: Digest): Promise<boolean> {
    const result = await this.db
      .deleteFrom('blobs')
      .where('digest', '=', digestToBytes(digest))
      .where('state', '=', 'deleting')
      .executeTakeFirst();
    return result.numDeletedRows > 0n;
  }

  async move(
    digest: Digest,
    { from, to }: { readonly from: BlobLocation; readonly to: BlobLocation },
    at: number,
  ): Promise<boolean> {
    const key = digestToBytes(digest);
    const moved = await this.db
      .updateTable('blobs')
      .set({ location: to })
      .where('digest', '=', key)
      .where('state', '=', 'present')
      .where('location', '=', from)
      .executeTakeFirst();
    if (moved.numUpdatedRows === 0n) return false;
    // It may have been there before.
    await this.forgetLeftBehind(to);
    await this.leaveBehind(digest, from, at);
    return true;
  }

  async leaveBehind(digest: Digest, from: BlobLocation, at: number): Promise<void> {
    await this.db
      .insertInto('moved_blobs')
      .values({ location: from, digest: digestToBytes(digest), moved_at: at })
      .onConflict((conflict) => conflict.column('location').doUpdateSet({ moved_at: at }))
      .execute();
  }

  async isLeftBehind(location: BlobLocation): Promise<boolean> {
    const row = await this.db
      .selectFrom('moved_blobs')
      .select('location')
      .where('location', '=', location)
      .executeTakeFirst();
    return row !== undefined;
  }

  async forgetLeftBehind(location: BlobLocation): Promise<void> {
    await this.db.deleteFrom('moved_blobs').where('location', '=', location).execute();
  }

  async touch(digest: Digest, at: number): Promise<boolean> {
    const result = await this.db
      .updateTable('blobs')
      .set({ touched_at: later(at) })
      .where('digest', '=', digestToBytes(digest))
      .where('state', '=', 'present')
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }

  async touchAmong(digests: readonly Digest[], at: number): Promise<ReadonlySet<Digest>> {
    const touched = new Set<Digest>();
    for (const page of pagesOf(digests)) {
      const rows = await this.db
        .updateTable('blobs')
        .set({ touched_at: later(at) })
        .where('digest', 'in', page.map(digestToBytes))
        .where('state', '=', 'present')
        .returning('digest')
        .execute();
      for (const row of rows) touched.add(digestFromBytes(row.digest));
    }
    return touched;
  }

  async link(repository: contract.RepositoryId, digest: Digest, by: string, at: number): Promise<void> {
    await this.db
      .insertInto('links')
      .values({ repository_id: repository, digest: digestToBytes(digest), linked_at: at, linked_by: by })
      .onConflict((conflict) => conflict.columns(['repository_id', 'digest']).doNothing())
      .execute();
  }

  async unlink(repository: contract.RepositoryId, digest: Digest): Promise<boolean> {
    const result = await this.db
      .deleteFrom('links')
      .where('repository_id', '=', repository)
      .where('digest', '=', digestToBytes(digest))
      .executeTakeFirst();
    return result.numDeletedRows > 0n;
  }
}

function isAbandoned(eb: ExpressionBuilder<Database, 'blobs'>, query: contract.AbandonQuery) {
  return eb.or([
    eb('touched_at', '<', query.claimedBefore).and('state', '=', 'placing'),
    eb('touched_at', '<', query.markedBefore).and('state', '=', 'deleting'),
  ]);
}

/** Clocks of several processes differ a little: a touch never shortens the grace period. */
function later(at: number) {
  return sql<number>`case when touched_at < ${at} then ${at} else touched_at end`;
}

function linkedFromRow(
  row: Pick<BlobTable, 'digest' | 'size_bytes' | 'location' | 'touched_at'>,
): contract.LinkedBlob {
  return {
    digest: digestFromBytes(row.digest),
    sizeBytes: row.size_bytes,
    location: row.location as BlobLocation,
    touchedAt: row.touched_at,
  };
}

function blobFromRow(row: BlobTable): contract.StoredBlobRow {
  return { ...linkedFromRow(row), state: row.state };
}
