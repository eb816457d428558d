import { type Kysely, sql } from 'kysely';
import type { UploadId } from '../../blobs/blob-store.ts';
import type { DigestAlgorithm } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { digestFromBytesOrNull, digestToBytes } from '../digest-bytes.ts';
import type * as contract from '../meta-store.ts';
import type { Database, UploadTable } from '../schema.ts';
import { pagesOf } from './pages.ts';
import type { Surroundings } from './surroundings.ts';

export class UploadReads implements contract.UploadReads {
  protected readonly db: Kysely<Database>;

  constructor(db: Kysely<Database>) {
    this.db = db;
  }

  async find(id: UploadId): Promise<contract.Upload | null> {
    const row = await this.db.selectFrom('uploads').selectAll().where('id', '=', id).executeTakeFirst();
    return row === undefined ? null : uploadFromRow(row);
  }

  async expired(at: number, limit: number): Promise<readonly contract.Upload[]> {
    const rows = await this.db
      .selectFrom('uploads')
      .selectAll()
      .where('expires_at', '<=', at)
      .where((eb) => eb.or([eb('lease_token', 'is', null), eb('lease_until', '<=', at)]))
      .orderBy('expires_at')
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.map(uploadFromRow);
  }

  async ended(before: number, limit: number): Promise<readonly UploadId[]> {
    const rows = await this.db
      .selectFrom('ended_uploads')
      .select('id')
      .where('ended_at', '<', before)
      .orderBy('ended_at')
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.map((row) => row.id as UploadId);
  }

  async known(ids: readonly UploadId[]): Promise<ReadonlySet<UploadId>> {
    const known = new Set<UploadId>();
    for (const page of pagesOf(ids)) {
      for (const table of ['uploads', 'ended_uploads'] as const) {
        const rows = await this.db.selectFrom(table).select('id').where('id', 'in', page).execute();
        for (const row of rows) known.add(row.id as UploadId);
      }
    }
    return known;
  }

  /** Counts rows one by one; `uploadsOpenMax` bounds them. */
  async count(): Promise<number> {
    const row = await this.db
      .selectFrom('uploads')
      .select((eb) => eb.fn.countAll<number | string>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(row.count);
  }

  /** Looks at every row: asked only when there are many. */
  async countOf(principal: string): Promise<number> {
    const row = await this.db
      .selectFrom('uploads')
      .select((eb) => eb.fn.countAll<number | string>().as('count'))
      .where('principal', '=', principal)
      .executeTakeFirstOrThrow();
    return Number(row.count);
  }
}

export class UploadQueries extends UploadReads implements contract.UploadWrites {
  readonly #surroundings: Surroundings;

  constructor(db: Kysely<Database>, surroundings: Surroundings) {
    super(db);
    this.#surroundings = surroundings;
  }

  /** Where one transaction writes at a time, each is alone. */
  countAlone(): Promise<number> {
    return this.count();
  }

  async insert(upload: contract.Upload): Promise<void> {
    await this.db
      .insertInto('uploads')
      .values({
        id: upload.id,
        repository: upload.repository,
        principal: upload.principal,
        algorithm: upload.algorithm,
        offset_bytes: upload.offsetBytes,
        digest_so_far: upload.digestSoFar === null ? null : digestToBytes(upload.digestSoFar),
        hashed_in_run: upload.hashedInRun,
        closing_as: upload.closingAs === null ? null : digestToBytes(upload.closingAs),
        lease_token: null,
        lease_until: null,
        lease_wanted: 0,
        started_at: upload.startedAt,
        expires_at: upload.expiresAt,
      })
      .execute();
  }

  async acquire(id: UploadId, token: string, leaseMillis: number): Promise<contract.Upload | 'busy' | null> {
    const taken = await this.db
      .updateTable('uploads')
      .set({ lease_token: token, lease_until: this.#fromNow(leaseMillis), lease_wanted: 0 })
      .where('id', '=', id)
      .where((eb) =>
        eb.or([eb('lease_token', 'is', null), eb('lease_until', '<=', this.#surroundings.now())]),
      )
      .returningAll()
      .executeTakeFirst();
    if (taken !== undefined) return uploadFromRow(taken);
    const asked = await this.db
      .updateTable('uploads')
      .set({ lease_wanted: 1 })
      .where('id', '=', id)
      .where('lease_wanted', '=', 0)
      .executeTakeFirst();
    // Whoever polls asks again and again: the holder is told once.
    if (asked.numUpdatedRows > 0n) await this.#surroundings.publish({ kind: 'upload_wanted', id });
    else if ((await this.find(id)) === null) return null;
    return 'busy';
  }

  async renew(
    id: UploadId,
    token: string,
    lease: { readonly leaseMillis: number; readonly expiresAt: number },
  ): Promise<'held' | 'wanted' | 'lost'> {
    const row = await this.db
      .updateTable('uploads')
      .set({ lease_until: this.#fromNow(lease.leaseMillis), expires_at: lease.expiresAt })
      .where('id', '=', id)
      .where('lease_token', '=', token)
      .returning('lease_wanted')
      .executeTakeFirst();
    if (row === undefined) return 'lost';
    return row.lease_wanted === 0 ? 'held' : 'wanted';
  }

  async release(
    id: UploadId,
    token: string,
    progress: Parameters<contract.UploadWrites['release']>[2],
  ): Promise<boolean> {
    const released = await this.db
      .updateTable('uploads')
      .set({
        offset_bytes: progress.offsetBytes,
        digest_so_far: progress.digestSoFar === null ? null : digestToBytes(progress.digestSoFar),
        hashed_in_run: progress.hashedInRun,
        expires_at: progress.expiresAt,
        lease_token: null,
        lease_until: null,
      })
      .where('id', '=', id)
      .where('lease_token', '=', token)
      .returning('lease_wanted')
      .executeTakeFirst();
    return this.#ended(id, released);
  }

  async close(id: UploadId, token: string, closing: contract.Closing): Promise<boolean> {
    const digest = digestToBytes(closing.digest);
    const result = await this.db
      .updateTable('uploads')
      .set({
        closing_as: digest,
        offset_bytes: closing.sizeBytes,
        digest_so_far: digest,
        hashed_in_run: closing.hashedInRun,
      })
      .where('id', '=', id)
      .where('lease_token', '=', token)
      .where((eb) => eb.or([eb('closing_as', 'is', null), eb('closing_as', '=', digest)]))
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }

  async delete(id: UploadId, token: string | null): Promise<boolean> {
    const deleted = await this.db
      .deleteFrom('uploads')
      .where('id', '=', id)
      .$if(token !== null, (builder) => builder.where('lease_token', '=', token))
      .returning('lease_wanted')
      .executeTakeFirst();
    return this.#ended(id, deleted);
  }

  async end(id: UploadId, token: string | null, at: number): Promise<boolean> {
    if (!(await this.delete(id, token))) return false;
    await this.noteEnded(id, at);
    return true;
  }

  async noteEnded(id: UploadId, at: number): Promise<void> {
    await this.db
      .insertInto('ended_uploads')
      .values({ id, ended_at: at })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ ended_at: at }))
      .execute();
  }

  async forgetEnded(ids: readonly UploadId[]): Promise<void> {
    for (const page of pagesOf(ids)) {
      await this.db.deleteFrom('ended_uploads').where('id', 'in', page).execute();
    }
  }

  /** Tells only where somebody waits: on PostgreSQL transactions that tell commit one after another. */
  async #ended(id: UploadId, row: Pick<UploadTable, 'lease_wanted'> | undefined): Promise<boolean> {
    if (row === undefined) return false;
    if (row.lease_wanted !== 0) await this.#surroundings.publish({ kind: 'upload_freed', id });
    return true;
  }

  #fromNow(millis: number) {
    return sql<number>`${this.#surroundings.now()} + ${sql.lit(millis)}`;
  }
}

export function uploadFromRow(row: UploadTable): contract.Upload {
  return {
    id: row.id as UploadId,
    repository: row.repository as RepositoryName,
    principal: row.principal,
    algorithm: row.algorithm as DigestAlgorithm,
    offsetBytes: row.offset_bytes,
    digestSoFar: digestFromBytesOrNull(row.digest_so_far),
    hashedInRun: row.hashed_in_run,
    closingAs: digestFromBytesOrNull(row.closing_as),
    startedAt: row.started_at,
    expiresAt: row.expires_at,
  };
}
