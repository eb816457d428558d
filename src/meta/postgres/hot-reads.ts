import type { Kysely } from 'kysely';
import type { BlobLocation, UploadId } from '../../blobs/blob-store.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { digestFromBytes, digestToBytes } from '../digest-bytes.ts';
import type {
  LedgerUser,
  LinkedBlob,
  MetaReads,
  ReferrersQuery,
  ReferrersText,
  StoredManifest,
  Upload,
} from '../meta-store.ts';
import { AccessReads, userFromRow } from '../queries/access.ts';
import { BlobReads } from '../queries/blobs.ts';
import { readGroups } from '../queries/groups.ts';
import { ManifestReads } from '../queries/manifests.ts';
import { UploadReads, uploadFromRow } from '../queries/uploads.ts';
import type { BlobTable, Database, UploadTable, UserTable } from '../schema.ts';
import type { Run } from './dialect.ts';
import { referrersText } from './groups.ts';

/** What every pull asks. Written by hand: building a query costs about what the database needs to answer it. */
const statements = {
  manifestByTag: `select m.digest, m.media_type, m.size_bytes, m.bytes
    from repositories r
    join tags t on t.repository_id = r.id and t.name = $2 and t.ended_at is null
    join manifests m on m.repository_id = r.id and m.digest = t.digest
    where r.name = $1 and m.deleted_at is null`,
  manifestByDigest: `select m.digest, m.media_type, m.size_bytes, m.bytes
    from repositories r
    join manifests m on m.repository_id = r.id and m.digest = $2
    where r.name = $1 and m.deleted_at is null`,
  linkedBlob: `select b.size_bytes, b.location, b.touched_at
    from repositories r
    join links l on l.repository_id = r.id and l.digest = $2
    join blobs b on b.digest = $2
    where r.name = $1 and b.state = 'present'`,
  user: 'select name, password_hash, administrator, changed_at from users where name = $1',
  upload: 'select * from uploads where id = $1',
} as const;

type One = <Row>(sql: string, ...parameters: readonly unknown[]) => Promise<Row | null>;
type BlobRow = Pick<BlobTable, 'size_bytes' | 'location' | 'touched_at'>;

interface ManifestRow {
  readonly digest: Uint8Array;
  readonly media_type: string;
  readonly size_bytes: number;
  readonly bytes: Uint8Array;
}

/** The read side with the hot reads as they stand above. */
export function hotReadGroups(db: Kysely<Database>, run: Run): MetaReads {
  const one: One = async <Row>(sql: string, ...parameters: readonly unknown[]) => {
    const { rows } = await run(sql, parameters);
    return (rows[0] as Row | undefined) ?? null;
  };
  return {
    ...readGroups(db),
    manifests: new HotManifests(db, one),
    blobs: new HotBlobs(db, one),
    access: new HotAccess(db, one),
    uploads: new HotUploads(db, one),
  };
}

class HotManifests extends ManifestReads {
  readonly #one: One;

  constructor(db: Kysely<Database>, one: One) {
    super(db);
    this.#one = one;
  }

  override async getByTag(repository: RepositoryName, tag: Tag): Promise<StoredManifest | null> {
    return manifestFromRow(await this.#one<ManifestRow>(statements.manifestByTag, repository, tag));
  }

  override async getByDigest(repository: RepositoryName, digest: Digest): Promise<StoredManifest | null> {
    const bytes = digestToBytes(digest);
    return manifestFromRow(await this.#one<ManifestRow>(statements.manifestByDigest, repository, bytes));
  }

  override referrersText(query: ReferrersQuery): Promise<ReferrersText> {
    return referrersText(this.db, query);
  }
}

class HotBlobs extends BlobReads {
  readonly #one: One;

  constructor(db: Kysely<Database>, one: One) {
    super(db);
    this.#one = one;
  }

  override async findLinked(repository: RepositoryName, digest: Digest): Promise<LinkedBlob | null> {
    const bytes = digestToBytes(digest);
    const row = await this.#one<BlobRow>(statements.linkedBlob, repository, bytes);
    if (row === null) return null;
    const location = row.location as BlobLocation;
    return { digest, sizeBytes: row.size_bytes, location, touchedAt: row.touched_at };
  }
}

class HotAccess extends AccessReads {
  readonly #one: One;

  constructor(db: Kysely<Database>, one: One) {
    super(db);
    this.#one = one;
  }

  override async user(name: string): Promise<LedgerUser | null> {
    const row = await this.#one<Omit<UserTable, 'created_at'>>(statements.user, name);
    return row === null ? null : userFromRow(row);
  }
}

class HotUploads extends UploadReads {
  readonly #one: One;

  constructor(db: Kysely<Database>, one: One) {
    super(db);
    this.#one = one;
  }

  override async find(id: UploadId): Promise<Upload | null> {
    const row = await this.#one<UploadTable>(statements.upload, id);
    return row === null ? null : uploadFromRow(row);
  }
}

function manifestFromRow(row: ManifestRow | null): StoredManifest | null {
  if (row === null) return null;
  const { media_type: mediaType, size_bytes: sizeBytes, bytes } = row;
  return { digest: digestFromBytes(row.digest), mediaType, sizeBytes, bytes };
}
