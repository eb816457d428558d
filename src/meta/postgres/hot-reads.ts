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
import { GatheredAsking } from './gathered-asking.ts';
import { referrersText } from './groups.ts';

import { databaseNow } from './surroundings.ts';

/**
 * What every pull asks. Written by hand: building a query costs about what the database needs to answer it. The number of the
 * repository is a parameter, so that the planner sees one part of each table; through a join it would plan for all of them,
 * each time. The last parameter is all that is asked for at this moment, by many clients; a row says what it answers.
 */
interface Statement {
  readonly sql: string;
  readonly answers: string;
}

const statements = {
  repository: { sql: 'select id, name from repositories where name = any($1)', answers: 'name' },
  manifestByTag: {
    sql: `select t.name, m.digest, m.media_type, m.size_bytes, m.bytes
      from tags t
      join manifests m on m.repository_id = $1 and m.digest = t.digest
      where t.repository_id = $1 and t.name = any($2) and t.ended_at is null and m.deleted_at is null`,
    answers: 'name',
  },
  manifestByDigest: {
    sql: `select digest, media_type, size_bytes, bytes from manifests
      where repository_id = $1 and digest = any($2) and deleted_at is null`,
    answers: 'digest',
  },
  linkedBlob: {
    sql: `select b.digest, b.size_bytes, b.location, b.touched_at
      from links l
      join blobs b on b.digest = l.digest
      where l.repository_id = $1 and l.digest = any($2) and b.digest = any($2) and b.state = 'present'`,
    answers: 'digest',
  },
  user: {
    sql: 'select name, password_hash, administrator, changed_at from users where name = any($1)',
    answers: 'name',
  },
  upload: { sql: 'select * from uploads where id = any($1)', answers: 'id' },
} as const satisfies Record<string, Statement>;

/** Names whose numbers a process remembers. */
const repositoriesKnownMax = 100_000;
/** Things asked for in one statement. Manifests have up to 4 MiB. */
const askedTogetherMax = 32;

type Parameter = string | Uint8Array;
type One = <Row>(statement: Statement, item: Parameter, repository?: number) => Promise<Row | null>;
type BlobRow = Pick<BlobTable, 'size_bytes' | 'location' | 'touched_at'>;

interface ManifestRow {
  readonly digest: Uint8Array;
  readonly media_type: string;
  readonly size_bytes: number;
  readonly bytes: Uint8Array;
}

/** The read side with the hot reads as they stand above. */
export function hotReadGroups(db: Kysely<Database>, run: Run): MetaReads {
  const one = oneOf(run);
  const within = new Within(one);
  return {
    ...readGroups(db, databaseNow),
    manifests: new HotManifests(db, within),
    blobs: new HotBlobs(db, within),
    access: new HotAccess(db, one),
    uploads: new HotUploads(db, one),
  };
}

function oneOf(run: Run): One {
  const asking = new GatheredAsking<Parameter, Record<string, unknown>>(askedTogetherMax);
  return async <Row>({ sql, answers }: Statement, item: Parameter, repository?: number) => {
    const kind = `${repository ?? ''} ${sql}`;
    const row = await asking.ask(kind, [keyOf(item), item], async (items) => {
      const asked = [...items.values()];
      const { rows } = await run(sql, repository === undefined ? [asked] : [repository, asked]);
      return new Map(rows.map((each) => [keyOf(each[answers] as Parameter), each]));
    });
    return (row as Row | undefined) ?? null;
  };
}

function keyOf(item: Parameter): string {
  return item instanceof Uint8Array ? Buffer.from(item).toString('latin1') : item;
}

/** Asks within a repository by its name. */
class Within {
  readonly #one: One;
  /** A name keeps its number for as long as it is there. */
  readonly #ids = new LRUCache<RepositoryName, number>({ max: repositoriesKnownMax });

  constructor(one: One) {
    this.#one = one;
  }

  async ask<Row>(statement: Statement, repository: RepositoryName, item: Parameter): Promise<Row | null> {
    const known = this.#ids.get(repository);
    if (known !== undefined) {
      const row = await this.#one<Row>(statement, item, known);
      if (row !== null) return row;
    }
    // Absent, or the repository has gone and come back under another number.
    const found = await this.#one<{ readonly id: number }>(statements.repository, repository);
    if (found === null || found.id === known) return null;
    this.#ids.set(repository, found.id);
    return this.#one<Row>(statement, item, found.id);
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
