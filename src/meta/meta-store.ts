import type { BlobLocation, UploadId } from '../blobs/blob-store.ts';
import type { Digest, DigestAlgorithm } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Tag } from '../oci/reference.ts';
import type { AccessReads, AccessWrites } from './access-records.ts';
import type { LeaseWrites, NodeReads, NodeWrites, Notice, Notices } from './coordination.ts';
import type { BlobState, ReferenceKind, ReviewReason } from './schema.ts';

export type * from './access-records.ts';
export type * from './coordination.ts';

/**
 * The meta store (the ledger) is the truth about everything but bytes. Absence is `null`; what it cannot do right now
 * throws `Unavailable`. Times are milliseconds since the epoch.
 *
 * Reads see all that any process committed before they began. Writes happen only inside `transaction`: its work must do
 * nothing but ledger calls (no I/O, no waiting for anything else), because one writer runs at a time on SQLite.
 */
export interface MetaStore {
  readonly driver: string;
  readonly read: MetaReads;

  /**
   * Runs `work` in one transaction, as if it were alone. With `durable` (the default) the promise resolves only after the
   * commit survives power loss; without, as soon as it is committed (fit for upload progress and leases). A throw rolls
   * back. `work` may be run again from the start when the database asks for it, so it has no effects outside.
   */
  transaction<T>(work: (tx: MetaTransaction) => Promise<T>, options?: TransactionOptions): Promise<T>;

  /** A consistent copy of the whole ledger at `path` while serving (SQLite); `null` where the database has its own way. */
  readonly backup: ((path: string) => Promise<void>) | null;

  /** Housekeeping of the jobs process: moves the write-ahead log into the database. `null` where there is none. */
  readonly checkpoint: ((mode: 'passive' | 'truncate') => Promise<void>) | null;

  /** Structural check of the database itself; sentences that say what is wrong, none when it is sound. */
  integrity(): Promise<readonly string[]>;

  /**
   * What time the ledger has, where it has a clock of its own: nodes whose clocks differ go by it (`ledger-clock.ts`). `null`
   * where it goes by this machine's.
   */
  readonly now: (() => Promise<number>) | null;

  /**
   * Throws `LedgerTooNew` when a newer program has made the schema one that this program cannot go on with. `null` where
   * nobody migrates what another one serves.
   */
  readonly requireSchema: (() => Promise<void>) | null;

  /** News from other processes, so that what is waited for is seen promptly. They may get lost: whoever waits also looks. */
  readonly notices: Notices;

  /** Proves that the ledger can be read and written; throws `Unavailable` otherwise. */
  probe(signal: AbortSignal): Promise<void>;

  close(): Promise<void>;
}

export interface TransactionOptions {
  readonly durable?: boolean;
  /**
   * The work is right also when others commit between its statements: each of its writes says what it depends on, and it
   * holds the repository (`ensure`, `findAlone`) whose content it relies on. It is cheaper where many write at once.
   */
  readonly concurrent?: boolean;
}

/** Grouped by noun; each group is one file in `queries/`. */
export interface MetaReads {
  readonly repositories: RepositoryReads;
  readonly manifests: ManifestReads;
  readonly tags: TagReads;
  readonly blobs: BlobReads;
  readonly uploads: UploadReads;
  readonly access: AccessReads;
  readonly queues: QueueReads;
  readonly nodes: NodeReads;
}

export interface MetaTransaction {
  readonly repositories: RepositoryReads & RepositoryWrites;
  readonly manifests: ManifestReads & ManifestWrites;
  readonly tags: TagReads & TagWrites;
  readonly blobs: BlobReads & BlobWrites;
  readonly uploads: UploadReads & UploadWrites;
  readonly access: AccessReads & AccessWrites;
  readonly queues: QueueReads & QueueWrites;
  readonly leases: LeaseWrites;
  readonly nodes: NodeReads & NodeWrites;
  /** Tells those who subscribed, once it is committed. */
  publish(notice: Notice): Promise<void>;
  /** Runs after the commit (and after it is durable, where that was asked for). Never on a rollback. */
  afterCommit(effect: () => void): void;
}

export type RepositoryId = number & { readonly __brand: 'RepositoryId' };

export interface Repository {
  readonly id: RepositoryId;
  readonly name: RepositoryName;
  readonly createdAt: number;
}

export interface RepositoryReads {
  find(name: RepositoryName): Promise<Repository | null>;
  /**
   * Names of the repositories that hold at least one live manifest, in byte order, after `after` (exclusive), at most
   * `limit`.
   */
  list(query: { readonly after: string | null; readonly limit: number }): Promise<readonly RepositoryName[]>;
}

export interface RepositoryWrites {
  /** The repository of this name, made if need be. Until the transaction ends nobody takes away from it. */
  ensure(name: RepositoryName, by: string, at: number): Promise<Repository>;
  /** The repository of this name. Until the transaction ends nobody else adds to it or takes away from it. */
  findAlone(name: RepositoryName): Promise<Repository | null>;
}

export interface ManifestHead {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
}

export interface StoredManifest extends ManifestHead {
  readonly bytes: Uint8Array;
}

export interface ManifestReference {
  readonly kind: ReferenceKind;
  readonly position: number;
  readonly target: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
}

export interface NewManifest extends StoredManifest {
  readonly artifactType: string | null;
  readonly subject: Digest | null;
  /** JSON of what the referrers list shows of it; null without a subject. */
  readonly descriptor: string | null;
  readonly references: readonly ManifestReference[];
}

/** Live manifests whose subject is `subject`, in byte order of their digests after `after`, at most `limit`. */
export interface ReferrersQuery {
  readonly repository: RepositoryId;
  readonly subject: Digest;
  /** Null: of every type. */
  readonly artifactType: string | null;
  readonly after: Digest | null;
  readonly limit: number;
}

export interface ReferrersSize {
  readonly count: number;
  /** Of all descriptors, as UTF-8. */
  readonly bytes: number;
}

export interface ReferrersText {
  /** Descriptors with commas between them. */
  readonly text: string;
  /** Null when there are none. */
  readonly last: Digest | null;
}

/** `live` is false for a manifest that was deleted and not yet collected. */
export interface ManifestState extends ManifestHead {
  readonly live: boolean;
}

export interface ManifestReads {
  /** Hot. Live manifests only; by name so that it is one statement. */
  getByTag(repository: RepositoryName, tag: Tag): Promise<StoredManifest | null>;
  /** Hot. */
  getByDigest(repository: RepositoryName, digest: Digest): Promise<StoredManifest | null>;
  /** With deleted ones. */
  state(repository: RepositoryId, digest: Digest): Promise<ManifestState | null>;
  /** Of `digests`, those that are live manifests of the repository. */
  liveAmong(repository: RepositoryId, digests: readonly Digest[]): Promise<ReadonlySet<Digest>>;
  references(repository: RepositoryId, digest: Digest): Promise<readonly ManifestReference[]>;
  /** A descriptor may have as many bytes as a manifest: ask for the size before the text. */
  referrersSize(query: ReferrersQuery): Promise<ReferrersSize>;
  referrersText(query: ReferrersQuery): Promise<ReferrersText>;
  /** A live manifest of the repository that references `target` as anything but a subject; for delete checks. */
  referencedBy(repository: RepositoryId, target: Digest): Promise<Digest | null>;
  /** Live manifests that name `target` as a child, in byte order after `after`, at most `limit`; for immutability. */
  parents(query: {
    readonly repository: RepositoryId;
    readonly target: Digest;
    readonly after: Digest | null;
    readonly limit: number;
  }): Promise<readonly Digest[]>;
  /** Every manifest of every repository in key order, for fsck and exports; `after` is the last entry of the page before. */
  scan(after: ManifestScanEntry | null, limit: number): Promise<readonly ManifestScanEntry[]>;
}

export interface ManifestScanEntry extends StoredManifest {
  readonly repositoryId: RepositoryId;
  readonly repository: RepositoryName;
  readonly live: boolean;
}

export interface ManifestWrites {
  /**
   * Inserts with its references; a manifest already there stays as it is and comes (back) to life. False, and nothing is
   * done, when it is there as another media type.
   */
  put(repository: RepositoryId, manifest: NewManifest, by: string, at: number): Promise<boolean>;
  /** Marks as deleted; false when it was not live. */
  delete(repository: RepositoryId, digest: Digest, by: string, at: number): Promise<boolean>;
}

export interface TagInterval {
  readonly name: Tag;
  readonly digest: Digest;
  readonly startedAt: number;
  readonly startedBy: string;
  readonly endedAt: number | null;
  readonly endedBy: string | null;
  readonly endReason: 'moved' | 'deleted' | 'manifest_deleted' | null;
}

export interface TagReads {
  /** The digest that a tag means now. */
  find(repository: RepositoryId, tag: Tag): Promise<Digest | null>;
  /** Open tags in byte order after `after` (exclusive; need not exist), at most `limit`. */
  list(query: {
    readonly repository: RepositoryId;
    readonly after: string | null;
    readonly limit: number;
  }): Promise<readonly Tag[]>;
  /** Open tags on a manifest, in byte order. */
  onManifest(repository: RepositoryId, digest: Digest): Promise<readonly Tag[]>;
  /** Newest first. */
  history(repository: RepositoryId, tag: Tag, limit: number): Promise<readonly TagInterval[]>;
}

export interface TagChange {
  readonly tag: Tag;
  /** Null: it meant nothing. */
  readonly before: Digest | null;
  readonly digest: Digest;
}

export interface TagWrites {
  /** Ends the open interval of the tag, which meant `before` when this transaction looked, and starts one. */
  set(repository: RepositoryId, change: TagChange, by: string, at: number): Promise<void>;
  /** Ends the open interval; returns what it meant, `null` when there was none. */
  end(
    repository: RepositoryId,
    tag: Tag,
    by: string,
    at: number,
    reason: 'deleted' | 'manifest_deleted',
  ): Promise<Digest | null>;
}

export interface StoredBlobRow {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly location: BlobLocation;
  readonly state: BlobState;
  readonly touchedAt: number;
}

/** A blob seen through a repository's link. */
export interface LinkedBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly location: BlobLocation;
  readonly touchedAt: number;
}

export interface BlobReads {
  /** Hot. Only `present` blobs that the repository links; by name so that it is one statement. */
  findLinked(repository: RepositoryName, digest: Digest): Promise<LinkedBlob | null>;
  find(digest: Digest): Promise<StoredBlobRow | null>;
  /** Of `digests`, those that the repository links and that are present. */
  linkedAmong(repository: RepositoryId, digests: readonly Digest[]): Promise<ReadonlySet<Digest>>;
  /** Repositories that link a present blob, in byte order after `after`: automatic content discovery filters them. */
  repositoriesLinking(
    digest: Digest,
    after: string | null,
    limit: number,
  ): Promise<readonly RepositoryName[]>;
  /** Every blob row in key order, for fsck. */
  scan(after: Digest | null, limit: number): Promise<readonly StoredBlobRow[]>;
  /** What blobs left behind when they moved, oldest first. */
  leftBehind(limit: number): Promise<readonly LeftBehind[]>;
  /** Every link in key order, for fsck; `blob` is null when the blob has no row. */
  scanLinks(after: LinkScanEntry | null, limit: number): Promise<readonly LinkScanEntry[]>;
}

/** Bytes at a place that the blob had before it moved. */
export type LeftBehind = Pick<LinkedBlob, 'digest' | 'location'> & { readonly movedAt: number };

export interface LinkScanEntry {
  readonly repositoryId: RepositoryId;
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly blobState: BlobState | null;
}

export interface AbandonQuery {
  readonly claimedBefore: number;
  readonly markedBefore: number;
  readonly at: number;
  readonly limit: number;
}

/** The bytes of a digest at one place. */
export interface PlacedBytes {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly location: BlobLocation;
}

export interface BlobWrites {
  /**
   * Before bytes are placed: makes the row (`placing`) or touches the one that is there, so that garbage collection keeps
   * its hands off for a grace period. `present` is where the blob is already. `deleting` means that collection is at work:
   * wait and claim again.
   */
  claim(bytes: PlacedBytes, at: number): Promise<{ readonly present: BlobLocation | null } | 'deleting'>;
  /**
   * After the bytes are durable: `present`, touched. The answer is where the blob is from now on: elsewhere, when another
   * upload has placed it meanwhile (at another place than `replaces`, whose bytes are known to be bad). `null` when the row
   * is gone or `deleting`: the bytes may be, too.
   */
  place(bytes: PlacedBytes, replaces: BlobLocation | null, at: number): Promise<BlobLocation | null>;
  /**
   * Marks blobs as `deleting`, and as touched `at` then: those that were claimed before `claimedBefore` and never placed,
   * and again those whose mark is older than `markedBefore`, at most `limit` in all. Whoever marked them may remove their
   * bytes and `forget` their rows until the next one may mark them.
   */
  abandon(query: AbandonQuery): Promise<readonly StoredBlobRow[]>;
  /** Removes the row of a blob that is `deleting`; false when there is none. */
  forget(digest: Digest): Promise<boolean>;
  /**
   * The blob is at `to` from now on, and its bytes at `from` are left behind. False, and nothing is changed, when it is not
   * present at `from` any more.
   */
  move(digest: Digest, places: Readonly<Record<'from' | 'to', BlobLocation>>, at: number): Promise<boolean>;
  /** The blob is elsewhere by now, and its bytes at this place are left behind. */
  leaveBehind(digest: Digest, from: BlobLocation, at: number): Promise<void>;
  /** Whether old bytes at this place wait for their removal. */
  isLeftBehind(location: BlobLocation): Promise<boolean>;
  forgetLeftBehind(location: BlobLocation): Promise<void>;
  /** Touches a present blob; false when it is not present. */
  touch(digest: Digest, at: number): Promise<boolean>;
  /** Touches those of `digests` that are present; the answer is which. */
  touchAmong(digests: readonly Digest[], at: number): Promise<ReadonlySet<Digest>>;
  link(repository: RepositoryId, digest: Digest, by: string, at: number): Promise<void>;
  /** False when there was no link. */
  unlink(repository: RepositoryId, digest: Digest): Promise<boolean>;
}

export interface Upload {
  readonly id: UploadId;
  readonly repository: RepositoryName;
  readonly principal: string;
  readonly algorithm: DigestAlgorithm;
  readonly offsetBytes: number;
  readonly digestSoFar: Digest | null;
  readonly hashedInRun: string | null;
  /** What the upload is being closed as; its bytes stay what they are from then on. */
  readonly closingAs: Digest | null;
  readonly startedAt: number;
  readonly expiresAt: number;
}

/** All bytes of an upload, verified. */
export interface Closing {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly hashedInRun: string;
}

export interface UploadReads {
  find(id: UploadId): Promise<Upload | null>;
  /** Uploads whose `expires_at` is at or before `at` and that nobody holds, oldest first. */
  expired(at: number, limit: number): Promise<readonly Upload[]>;
  /** Those that `end` noted before `before`, oldest first. */
  ended(before: number, limit: number): Promise<readonly UploadId[]>;
  /** Of `ids`, those that are open, or ended and not yet forgotten: whatever bytes they have are looked after. */
  known(ids: readonly UploadId[]): Promise<ReadonlySet<UploadId>>;
  count(): Promise<number>;
  countOf(principal: string): Promise<number>;
}

/** Leases of uploads end by the ledger's clock: those of the nodes may differ. Durations are in milliseconds. */
export interface UploadWrites {
  /** As `count`; until the transaction ends nobody else counts so: what is begun after it stays below a limit. */
  countAlone(): Promise<number>;
  insert(upload: Upload): Promise<void>;
  /**
   * Takes the lease for so long when it is free or past; otherwise notes that somebody waits, tells the holder and answers
   * `busy`. `null`: no such upload.
   */
  acquire(id: UploadId, token: string, leaseMillis: number): Promise<Upload | 'busy' | null>;
  /** Renews a lease still held with this token. `wanted`: another request waits. `lost`: not ours any more. */
  renew(
    id: UploadId,
    token: string,
    lease: { readonly leaseMillis: number; readonly expiresAt: number },
  ): Promise<'held' | 'wanted' | 'lost'>;
  /** Writes progress and frees the lease, telling who waits; false when the lease was lost (then nothing is written). */
  release(
    id: UploadId,
    token: string,
    progress: {
      readonly offsetBytes: number;
      readonly digestSoFar: Digest | null;
      readonly hashedInRun: string | null;
      readonly expiresAt: number;
    },
  ): Promise<boolean>;
  /** Notes what it is closed as; false when the lease was lost, or it is being closed as something else. */
  close(id: UploadId, token: string, closing: Closing): Promise<boolean>;
  /** It has become a blob. Tells who waits. False when it was gone, or (with `token`) held by somebody else. */
  delete(id: UploadId, token: string | null): Promise<boolean>;
  /** As `delete`, for one that becomes no blob: it is noted that its bytes have to go. Who asked withdraws them. */
  end(id: UploadId, token: string | null, at: number): Promise<boolean>;
  /** Notes the same of an upload that is gone; of one that is noted, as if it had ended `at` then. */
  noteEnded(id: UploadId, at: number): Promise<void>;
  /** Nothing is left of them, and nothing will be. */
  forgetEnded(ids: readonly UploadId[]): Promise<void>;
}

export interface Review {
  readonly kind: 'blob' | 'manifest' | 'link';
  readonly repositoryId: RepositoryId | null;
  readonly digest: Digest;
  readonly reason: ReviewReason;
  readonly dueAt: number;
}

export interface OutboxEvent {
  readonly kind: string;
  readonly repository: RepositoryName;
  readonly principal: string;
  readonly occurredAt: number;
  readonly payload: Readonly<Record<string, unknown>>;
}

export interface QueueReads {
  reviews(query: { readonly dueBefore: number | null; readonly limit: number }): Promise<readonly Review[]>;
  events(query: {
    readonly afterId: number;
    readonly limit: number;
  }): Promise<readonly (OutboxEvent & { readonly id: number })[]>;
}

export interface QueueWrites {
  /** Queues, or moves the due time of the open row forward (never back). */
  review(review: Review, queuedAt: number): Promise<void>;
  publish(event: OutboxEvent): Promise<void>;
}
