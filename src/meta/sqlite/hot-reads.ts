import type { Kysely } from 'kysely';
import type { UploadId } from '../../blobs/blob-store.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { digestToBytes } from '../digest-bytes.ts';
import type { LedgerUser, LinkedBlob, MetaReads, StoredManifest, Upload } from '../meta-store.ts';
import { AccessReads, userFromRow } from '../queries/access.ts';
import { BlobReads, linkedFromRow } from '../queries/blobs.ts';
import { readGroups } from '../queries/groups.ts';
import { ManifestReads, storedFromRow } from '../queries/manifests.ts';
import { UploadReads, uploadFromRow } from '../queries/uploads.ts';
import type { Database, UploadTable } from '../schema.ts';
import type { Connection } from './connection.ts';
import type { Around } from './dialect.ts';

/** What every pull asks. Written by hand: building a query costs several times what SQLite needs to answer it. */
const hotStatements = {
  manifestByTag: `select m.digest, m.media_type, m.size_bytes, m.bytes
    from repositories r
    join tags t on t.repository_id = r.id and t.name = ? and t.ended_at is null
    join manifests m on m.repository_id = t.repository_id and m.digest = t.digest
    where r.name = ? and m.deleted_at is null`,
  manifestByDigest: `select m.digest, m.media_type, m.size_bytes, m.bytes
    from repositories r
    join manifests m on m.repository_id = r.id and m.digest = ?
    where r.name = ? and m.deleted_at is null`,
  linkedBlob: `select b.digest, b.size_bytes, b.location, b.touched_at
    from repositories r
    join links l on l.repository_id = r.id and l.digest = ?
    join blobs b on b.digest = l.digest
    where r.name = ? and b.state = 'present'`,
  user: 'select name, password_hash, administrator, changed_at from users where name = ?',
  upload: 'select * from uploads where id = ?',
} as const;

type One = <Row>(sql: string, ...parameters: readonly (string | Uint8Array)[]) => Row | null;

/** The read side with the hot reads as prepared statements. */
export function hotReadGroups(db: Kysely<Database>, connection: Connection, around: Around): MetaReads {
  const one: One = <Row>(sql: string, ...parameters: readonly (string | Uint8Array)[]) => {
    const { rows } = around(() => connection.execute(sql, parameters));
    return (rows[0] as Row | undefined) ?? null;
  };
  return {
    ...readGroups(db),
    manifests: new HotManifestReads(db, one),
    blobs: new HotBlobReads(db, one),
    uploads: new HotUploadReads(db, one),
    access: new HotAccessReads(db, one),
  };
}

class HotManifestReads extends ManifestReads {
  readonly #one: One;

  constructor(db: Kysely<Database>, one: One) {
    super(db);
    this.#one = one;
  }

  override async getByTag(repository: RepositoryName, tag: Tag): Promise<StoredManifest | null> {
    const row = this.#one<Parameters<typeof storedFromRow>[0]>(hotStatements.manifestByTag, tag, repository);
    return row === null ? null : storedFromRow(row);
  }

  override async getByDigest(repository: RepositoryName, digest: Digest): Promise<StoredManifest | null> {
    const row = this.#one<Parameters<typeof storedFromRow>[0]>(
      hotStatements.manifestByDigest,
      digestToBytes(digest),
      repository,
    );
    return row === null ? null : storedFromRow(row);
  }
}

class HotBlobReads extends BlobReads {
  readonly #one: One;

  constructor(db: Kysely<Database>, one: One) {
    super(db);
    this.#one = one;
  }

  override async findLinked(repository: RepositoryName, digest: Digest): Promise<LinkedBlob | null> {
    const row = this.#one<Parameters<typeof linkedFromRow>[0]>(
      hotStatements.linkedBlob,
      digestToBytes(digest),
      repository,
    );
    return row === null ? null : linkedFromRow(row);
  }
}

class HotUploadReads extends UploadReads {
  readonly #one: One;

  constructor(db: Kysely<Database>, one: One) {
    super(db);
    this.#one = one;
  }

  override async find(id: UploadId): Promise<Upload | null> {
    const row = this.#one<UploadTable>(hotStatements.upload, id);
    return row === null ? null : uploadFromRow(row);
  }
}

class HotAccessReads extends AccessReads {
  readonly #one: One;

  constructor(db: Kysely<Database>, one: One) {
    super(db);
    this.#one = one;
  }

  override async user(name: string): Promise<LedgerUser | null> {
    const row = this.#one<Parameters<typeof userFromRow>[0]>(hotStatements.user, name);
    return row === null ? null : userFromRow(row);
  }
}
