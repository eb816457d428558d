import type { Kysely, SelectQueryBuilder } from 'kysely';
import type { BlobLocation, UploadId } from '../../blobs/blob-store.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import type { ByteCache } from '../../std/byte-cache.ts';
import { digestFromHex, digestToBytes } from '../digest-bytes.ts';
import type {
  LedgerUser,
  LinkedBlob,
  MetaReads,
  ReferrersQuery,
  ReferrersSize,
  ReferrersText,
  StoredManifest,
  Upload,
} from '../meta-store.ts';
import { AccessReads, userFromRow } from '../queries/access.ts';
import { BlobReads } from '../queries/blobs.ts';
import { readGroups } from '../queries/groups.ts';
import { ManifestReads, referrersSize, referrersText, referrersTextFromRow } from '../queries/manifests.ts';
import type { Surroundings } from '../queries/surroundings.ts';
import { UploadReads, uploadFromRow } from '../queries/uploads.ts';
import type { BlobTable, Database, UploadTable } from '../schema.ts';
import type { Connection } from './connection.ts';
import type { Around } from './dialect.ts';
import type { UnchangedMemory } from './unchanged-memory.ts';

/** What every pull asks. Written by hand: building a query costs several times what SQLite needs to answer it. */
const hotStatements = {
  manifestByTag: `select hex(m.digest) as digest_hex, m.media_type, m.size_bytes
    from repositories r
    join tags t on t.repository_id = r.id and t.name = ? and t.ended_at is null
    join manifests m on m.repository_id = t.repository_id and m.digest = t.digest
    where r.name = ? and m.deleted_at is null`,
  manifestByDigest: `select m.media_type, m.size_bytes
    from repositories r
    join manifests m on m.repository_id = r.id and m.digest = ?
    where r.name = ? and m.deleted_at is null`,
  manifestBytes: `select m.bytes
    from repositories r
    join manifests m on m.repository_id = r.id and m.digest = ?
    where r.name = ? and m.deleted_at is null`,
  linkedBlob: `select b.size_bytes, b.location, b.touched_at
    from repositories r
    join links l on l.repository_id = r.id and l.digest = ?
    join blobs b on b.digest = l.digest
    where r.name = ? and b.state = 'present'`,
  user: 'select name, password_hash, administrator, changed_at from users where name = ?',
  upload: 'select * from uploads where id = ?',
} as const;

type Parameter = string | number | Uint8Array;
type One = <Row>(sql: string, ...parameters: readonly Parameter[]) => Row | null;

interface Means {
  readonly one: One;
  readonly memory: UnchangedMemory;
}

/** The read side with the hot reads as prepared statements. */
export function hotReadGroups(
  db: Kysely<Database>,
  deps: {
    readonly connection: Connection;
    readonly around: Around;
    readonly manifestBytes: ByteCache;
    readonly memory: UnchangedMemory;
    readonly now: Surroundings['now'];
  },
): MetaReads {
  const { connection, around, memory } = deps;
  const one: One = <Row>(sql: string, ...parameters: readonly Parameter[]) => {
    const { rows } = around(() => connection.execute(sql, parameters));
    return (rows[0] as Row | undefined) ?? null;
  };
  const means: Means = { one, memory };
  return {
    ...readGroups(db, deps.now),
    manifests: new HotManifestReads(db, means, deps.manifestBytes),
    blobs: new HotBlobReads(db, means),
    uploads: new HotUploadReads(db, one),
    access: new HotAccessReads(db, means),
  };
}

function keyOf({ repository, subject, artifactType, after, limit }: ReferrersQuery): string {
  return JSON.stringify([repository, subject, artifactType, after, limit]);
}

type FoundManifest = Omit<StoredManifest, 'bytes'>;

/** Which manifest is meant may change with any commit; its bytes, which its digest says, are read only once. */
class HotManifestReads extends ManifestReads {
  readonly #means: Means;
  readonly #bytes: ByteCache;

  constructor(db: Kysely<Database>, means: Means, bytes: ByteCache) {
    super(db);
    this.#means = means;
    this.#bytes = bytes;
  }

  override async getByTag(repository: RepositoryName, tag: Tag): Promise<StoredManifest | null> {
    const { memory } = this.#means;
    const found = memory.recall(`tag ${repository} ${tag}`, () => this.#findByTag(repository, tag));
    return found === null ? null : this.#withBytes(repository, found);
  }

  override async getByDigest(repository: RepositoryName, digest: Digest): Promise<StoredManifest | null> {
    const { memory } = this.#means;
    const found = memory.recall(`manifest ${repository} ${digest}`, () =>
      this.#findByDigest(repository, digest),
    );
    return found === null ? null : this.#withBytes(repository, found);
  }

  override async referrersSize(query: ReferrersQuery): Promise<ReferrersSize> {
    const { memory } = this.#means;
    return memory.recall(`referrers size ${keyOf(query)}`, () => {
      const { count, bytes } = this.#first(referrersSize(this.db, query));
      return { count, bytes };
    });
  }

  override async referrersText(query: ReferrersQuery): Promise<ReferrersText> {
    const { memory } = this.#means;
    return memory.recall(
      `referrers ${keyOf(query)}`,
      () => referrersTextFromRow(this.#first(referrersText(this.db, query))),
      ({ text }) => text.length,
    );
  }

  /** At once: what is awaited may be older than what was committed meanwhile, and would be kept for new. */
  #first<Row>(query: Pick<SelectQueryBuilder<Database, never, Row>, 'compile'>): Row {
    const { sql, parameters } = query.compile();
    return this.#means.one<Row>(sql, ...(parameters as Parameter[])) as Row;
  }

  #findByTag(repository: RepositoryName, tag: Tag): FoundManifest | null {
    // A digest as text: as bytes it would be a buffer of its own outside of the heap, which costs more than this read.
    const row = this.#means.one<ManifestRow & { readonly digest_hex: string }>(
      hotStatements.manifestByTag,
      tag,
      repository,
    );
    return row === null ? null : foundManifest(digestFromHex(row.digest_hex), row);
  }

  #findByDigest(repository: RepositoryName, digest: Digest): FoundManifest | null {
    const row = this.#means.one<ManifestRow>(
      hotStatements.manifestByDigest,
      digestToBytes(digest),
      repository,
    );
    return row === null ? null : foundManifest(digest, row);
  }

  #withBytes(repository: RepositoryName, found: FoundManifest): StoredManifest | null {
    const { digest, mediaType, sizeBytes } = found;
    const bytes = this.#bytes.get(digest) ?? this.#readBytes(repository, digest);
    return bytes === null ? null : { digest, mediaType, sizeBytes, bytes };
  }

  #readBytes(repository: RepositoryName, digest: Digest): Uint8Array | null {
    const row = this.#means.one<{ readonly bytes: Uint8Array }>(
      hotStatements.manifestBytes,
      digestToBytes(digest),
      repository,
    );
    if (row !== null) this.#bytes.put(digest, row.bytes);
    return row?.bytes ?? null;
  }
}

interface ManifestRow {
  readonly media_type: string;
  readonly size_bytes: number;
}

function foundManifest(digest: Digest, row: ManifestRow): FoundManifest {
  return { digest, mediaType: row.media_type, sizeBytes: row.size_bytes };
}

class HotBlobReads extends BlobReads {
  readonly #means: Means;

  constructor(db: Kysely<Database>, means: Means) {
    super(db);
    this.#means = means;
  }

  override async findLinked(repository: RepositoryName, digest: Digest): Promise<LinkedBlob | null> {
    const { memory } = this.#means;
    return memory.recall(`blob ${repository} ${digest}`, () => this.#findLinked(repository, digest));
  }

  #findLinked(repository: RepositoryName, digest: Digest): LinkedBlob | null {
    const row = this.#means.one<Pick<BlobTable, 'size_bytes' | 'location' | 'touched_at'>>(
      hotStatements.linkedBlob,
      digestToBytes(digest),
      repository,
    );
    if (row === null) return null;
    const { size_bytes, location, touched_at } = row;
    return { digest, sizeBytes: size_bytes, location: location as BlobLocation, touchedAt: touched_at };
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
  readonly #means: Means;

  constructor(db: Kysely<Database>, means: Means) {
    super(db);
    this.#means = means;
  }

  override async user(name: string): Promise<LedgerUser | null> {
    const { memory, one } = this.#means;
    return memory.recall(`user ${name}`, () => {
      const row = one<Parameters<typeof userFromRow>[0]>(hotStatements.user, name);
      return row === null ? null : userFromRow(row);
    });
  }
}
