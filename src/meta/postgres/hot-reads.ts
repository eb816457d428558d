import type { Kysely } from 'kysely';
import { LRUCache } from 'lru-cache';
import type { BlobLocation, UploadId } from '../../blobs/blob-store.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { GatheredAsking } from '../../std/gathered-asking.ts';
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
import { databaseNow } from './surroundings.ts';

/** Larger manifests are read one by one: not 32 of 4 MiB at a time. */
const bytesTogetherMax = 64 * 1024;
const SHORT_BYTES = `case when m.size_bytes <= ${bytesTogetherMax} then m.bytes end as bytes`;

interface Statement {
  readonly sql: string;
}

/**
 * What every pull asks. Written by hand: building a query costs about what the database needs to answer it. All that is asked
 * for at one moment, by many clients, goes together; a row says by its `item` what it answers.
 */
const statements = {
  repository: { sql: 'select name as item, id from repositories where name = any($1)' },
  user: {
    sql: 'select name as item, name, password_hash, administrator, changed_at from users where name = any($1)',
  },
  upload: { sql: 'select id as item, uploads.* from uploads where id = any($1)' },
} as const satisfies Record<string, Statement>;

interface StatementWithin extends Statement {
  readonly across: string;
}

/**
 * Within one repository its number is a parameter, so that the planner sees one part of each table; through a join it would
 * plan for all of them, each time. That pays only where many repositories are asked at once.
 */
const statementsWithin = {
  manifestByTag: within(
    'text',
    (
      repository,
      isAsked,
    ) => `select t.name as item, m.repository_id, m.digest, m.media_type, m.size_bytes, ${SHORT_BYTES}
      from tags t
      join manifests m on m.repository_id = ${repository} and m.digest = t.digest
      where t.repository_id = ${repository} and t.name ${isAsked} and t.ended_at is null and m.deleted_at is null`,
  ),
  manifestByDigest: within(
    'bytea',
    (
      repository,
      isAsked,
    ) => `select m.digest as item, m.repository_id, m.digest, m.media_type, m.size_bytes, ${SHORT_BYTES}
      from manifests m
      where m.repository_id = ${repository} and m.digest ${isAsked} and m.deleted_at is null`,
  ),
  linkedBlob: within(
    'bytea',
    (repository, isAsked) => `select b.digest as item, b.size_bytes, b.location, b.touched_at
      from links l
      join blobs b on b.digest = l.digest
      where l.repository_id = ${repository} and l.digest ${isAsked} and b.digest ${isAsked} and b.state = 'present'`,
  ),
} as const satisfies Record<string, StatementWithin>;

function within(
  type: 'text' | 'bytea',
  select: (repository: string, isAsked: string) => string,
): StatementWithin {
  return {
    sql: select('$1', '= any($2)'),
    // The offset keeps it a lookup for each, whatever the planner thinks of the tables.
    across: `select asked.repository_id as asked_in, found.*
      from unnest($1::bigint[], $2::${type}[]) as asked (repository_id, item)
      cross join lateral (${select('asked.repository_id', '= asked.item')} offset 0) as found`,
  };
}

/** Names whose numbers a process remembers. */
const repositoriesKnownMax = 100_000;
const together = {
  itemsMax: 32,
  /** Most are answered in a tenth of that. */
  waitMillisMax: 20,
};
/** Up to so many repositories a statement for each is cheaper than one for all. */
const repositoriesApartMax = 3;
/**
 * After a statement about several repositories failed, each is asked about alone for so long, in milliseconds: where only
 * the parts of some of them do not answer, the others do.
 */
const apartMillis = 10_000;

type Parameter = string | Uint8Array;
type AnyRow = Readonly<Record<string, unknown>>;
type One = <Row>(statement: Statement, item: Parameter) => Promise<Row | null>;
type BlobRow = Pick<BlobTable, 'size_bytes' | 'location' | 'touched_at'>;

interface ManifestRow {
  readonly repository_id: number;
  readonly digest: Uint8Array;
  readonly media_type: string;
  readonly size_bytes: number;
  /** Null where they are many. */
  readonly bytes: Uint8Array | null;
}

const LONG_BYTES =
  'select bytes from manifests where repository_id = $1 and digest = $2 and deleted_at is null';

/** The read side with the hot reads as they stand above. */
export function hotReadGroups(db: Kysely<Database>, run: Run): MetaReads {
  const one = oneOf(run);
  const within = new Within(run, one);
  return {
    ...readGroups(db, databaseNow),
    manifests: new HotManifests(db, run, within),
    blobs: new HotBlobs(db, within),
    access: new HotAccess(db, one),
    uploads: new HotUploads(db, one),
  };
}

function oneOf(run: Run): One {
  const asking = new GatheredAsking<Parameter, AnyRow>(together);
  return async <Row>({ sql }: Statement, item: Parameter) => {
    const row = await asking.ask(sql, [keyOf(item), item], async (items) => {
      const { rows } = await run(sql, [[...items.values()]]);
      return new Map(rows.map((each) => [itemOf(each), each]));
    });
    return (row as Row | undefined) ?? null;
  };
}

function itemOf(row: AnyRow): string {
  return keyOf(row['item'] as Parameter);
}

function keyOf(item: Parameter): string {
  return item instanceof Uint8Array ? Buffer.from(item).toString('latin1') : item;
}

interface ItemWithin {
  readonly repository: number;
  readonly item: Parameter;
}

/** Asks within a repository by its name. */
class Within {
  readonly #run: Run;
  readonly #one: One;
  readonly #asking = new GatheredAsking<ItemWithin, AnyRow>(together);
  #apartUntil = Number.NEGATIVE_INFINITY;
  /** A name keeps its number for as long as it is there. */
  readonly #ids = new LRUCache<RepositoryName, number>({ max: repositoriesKnownMax });

  constructor(run: Run, one: One) {
    this.#run = run;
    this.#one = one;
  }

  async ask<Row>(
    statement: StatementWithin,
    repository: RepositoryName,
    item: Parameter,
  ): Promise<Row | null> {
    const known = this.#ids.get(repository);
    if (known !== undefined) {
      const row = await this.#askIn<Row>(statement, known, item);
      if (row !== null) return row;
    }
    // Absent, or the repository has gone and come back under another number.
    const found = await this.#one<{ readonly id: number }>(statements.repository, repository);
    if (found === null || found.id === known) return null;
    this.#ids.set(repository, found.id);
    return this.#askIn<Row>(statement, found.id, item);
  }

  async #askIn<Row>(statement: StatementWithin, repository: number, item: Parameter): Promise<Row | null> {
    const key = `${repository} ${keyOf(item)}`;
    const isApart = performance.now() < this.#apartUntil;
    const kind = isApart ? `${repository} ${statement.sql}` : statement.sql;
    const row = await this.#asking.ask(kind, [key, { repository, item }], (items) =>
      this.#askAll(statement, [...items.values()]),
    );
    return (row as Row | undefined) ?? null;
  }

  async #askAll(
    statement: StatementWithin,
    asked: readonly ItemWithin[],
  ): Promise<ReadonlyMap<string, AnyRow>> {
    const apart = Map.groupBy(asked, ({ repository }) => repository);
    try {
      if (apart.size > repositoriesApartMax) return await this.#askAcross(statement, asked);
      const found = await Promise.all(
        [...apart].map(([repository, of]) => this.#askAlone(statement, repository, of)),
      );
      return new Map(found.flat());
    } catch (error) {
      if (apart.size > 1) this.#apartUntil = performance.now() + apartMillis;
      throw error;
    }
  }

  async #askAlone(statement: StatementWithin, repository: number, asked: readonly ItemWithin[]) {
    const { rows } = await this.#run(statement.sql, [repository, asked.map(({ item }) => item)]);
    return rows.map((row) => [`${repository} ${itemOf(row)}`, row] as const);
  }

  async #askAcross(statement: StatementWithin, asked: readonly ItemWithin[]) {
    const parameters = [asked.map(({ repository }) => repository), asked.map(({ item }) => item)];
    const { rows } = await this.#run(statement.across, parameters);
    return new Map(rows.map((row) => [`${String(row['asked_in'])} ${itemOf(row)}`, row]));
  }
}

class HotManifests extends ManifestReads {
  readonly #run: Run;
  readonly #within: Within;

  constructor(db: Kysely<Database>, run: Run, within: Within) {
    super(db);
    this.#run = run;
    this.#within = within;
  }

  override async getByTag(repository: RepositoryName, tag: Tag): Promise<StoredManifest | null> {
    return this.#whole(await this.#within.ask<ManifestRow>(statementsWithin.manifestByTag, repository, tag));
  }

  override async getByDigest(repository: RepositoryName, digest: Digest): Promise<StoredManifest | null> {
    const bytes = digestToBytes(digest);
    return this.#whole(
      await this.#within.ask<ManifestRow>(statementsWithin.manifestByDigest, repository, bytes),
    );
  }

  /** Null also when it was deleted meanwhile. */
  async #whole(row: ManifestRow | null): Promise<StoredManifest | null> {
    if (row === null) return null;
    const { media_type: mediaType, size_bytes: sizeBytes } = row;
    const bytes = row.bytes ?? (await this.#readBytes(row));
    return bytes === null ? null : { digest: digestFromBytes(row.digest), mediaType, sizeBytes, bytes };
  }

  async #readBytes({ repository_id, digest }: ManifestRow): Promise<Uint8Array | null> {
    const { rows } = await this.#run(LONG_BYTES, [repository_id, digest]);
    return (rows[0]?.['bytes'] as Uint8Array | undefined) ?? null;
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
    const row = await this.#within.ask<BlobRow>(statementsWithin.linkedBlob, repository, bytes);
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
