import type { Kysely } from 'kysely';
import { LRUCache } from 'lru-cache';
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
import { SharedAsking } from './shared-asking.ts';
import { databaseNow } from './surroundings.ts';

/**
 * What every pull asks. Written by hand: building a query costs about what the database needs to answer it. The number of the
 * repository is a parameter, so that the planner sees one part of each table; through a join it would plan for all of them,
 * each time.
 */
const statements = {
  repository: 'select id from repositories where name = $1',
  manifestByTag: `select m.digest, m.media_type, m.size_bytes, m.bytes
    from tags t
    join manifests m on m.repository_id = $1 and m.digest = t.digest
    where t.repository_id = $1 and t.name = $2 and t.ended_at is null and m.deleted_at is null`,
  manifestByDigest: `select digest, media_type, size_bytes, bytes from manifests
    where repository_id = $1 and digest = $2 and deleted_at is null`,
  linkedBlob: `select b.size_bytes, b.location, b.touched_at
    from links l
    join blobs b on b.digest = $2
    where l.repository_id = $1 and l.digest = $2 and b.state = 'present'`,
  user: 'select name, password_hash, administrator, changed_at from users where name = $1',
  upload: 'select * from uploads where id = $1',
} as const;

/** Names whose numbers a process remembers. */
const repositoriesKnownMax = 100_000;

type Parameter = string | number | Uint8Array;
type One = <Row>(sql: string, ...parameters: readonly Parameter[]) => Promise<Row | null>;
type BlobRow = Pick<BlobTable, 'size_bytes' | 'location' | 'touched_at'>;

interface ManifestRow {
  readonly digest: Uint8Array;
  readonly media_type: string;
  readonly size_bytes: number;
  readonly bytes: Uint8Array;
}

/** The read side with the hot reads as they stand above. */
export function hotReadGroups(db: Kysely<Database>, run: Run): MetaReads {
  const asking = new SharedAsking<unknown>();
  const one: One = async <Row>(sql: string, ...parameters: readonly Parameter[]) => {
    const row = await asking.ask(keyOf(sql, parameters), async () => (await run(sql, parameters)).rows[0]);
    return (row as Row | undefined) ?? null;
  };
  const within = new Within(one);
  return {
    ...readGroups(db, databaseNow),
    manifests: new HotManifests(db, within),
    blobs: new HotBlobs(db, within),
    access: new HotAccess(db, one),
    uploads: new HotUploads(db, one),
  };
}

function keyOf(sql: string, parameters: readonly Parameter[]): string {
  const texts = parameters.map((each) =>
    each instanceof Uint8Array ? Buffer.from(each).toString('latin1') : each,
  );
  return JSON.stringify([sql, ...texts]);
}

/** Asks within a repository by its name. */
class Within {
  readonly #one: One;
  /** A name keeps its number for as long as it is there. */
  readonly #ids = new LRUCache<RepositoryName, number>({ max: repositoriesKnownMax });

  constructor(one: One) {
    this.#one = one;
  }

  async ask<Row>(
    sql: string,
    repository: RepositoryName,
    ...rest: readonly Parameter[]
  ): Promise<Row | null> {
    const known = this.#ids.get(repository);
    if (known !== undefined) {
      const row = await this.#one<Row>(sql, known, ...rest);
      if (row !== null) return row;
    }
    // Absent, or the repository has gone and come back under another number.
    const found = await this.#one<{ readonly id: number }>(statements.repository, repository);
    if (found === null || found.id === known) return null;
    this.#ids.set(repository, found.id);
    return this.#one<Row>(sql, found.id, ...rest);
  }
}

class HotManifests extends ManifestReads {
  readonly #within: Within;

  constructor(db: Kysely<Database>, within: Within) {
    super(db);
    this.#within = within;
  }

  override async getByTag(repository: RepositoryName, tag: Tag): Promise<StoredManifest | null> {
    return manifestFromRow(await this.#within.ask<ManifestRow>(statements.manifestByTag, repository, tag));
  }

  override async getByDigest(repository: RepositoryName, digest: Digest): Promise<StoredManifest | null> {
    const bytes = digestToBytes(digest);
    return manifestFromRow(
      await this.#within.ask<ManifestRow>(statements.manifestByDigest, repository, bytes),
    );
  }

  override referrersText(query: ReferrersQuery): Promise<ReferrersText> {
    return referrersText(this.db, query);
  }
}

class HotBlobs extends BlobReads {
  readonly #within: Within;

  constructor(db: Kysely<Database>, within: Within) {
    super(db);
    this.#within = within;
  }

  override async findLinked(repository: RepositoryName, digest: Digest): Promise<LinkedBlob | null> {
    const bytes = digestToBytes(digest);
    const row = await this.#within.ask<BlobRow>(statements.linkedBlob, repository, bytes);
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
