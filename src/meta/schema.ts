import type { Generated } from 'kysely';

/**
 * The ledger's tables, one schema for SQLite and PostgreSQL. Times are milliseconds since the epoch, sizes are bytes,
 * digests are bytes (`digest-bytes.ts`: one byte for the algorithm, then the raw hash): half the index of their text.
 *
 * Rules that hold for every table:
 * - Whatever belongs to a repository carries `repository_id` first in its key, so that it can be partitioned by it.
 * - Nothing that a person may want back is overwritten: a tag is a row with a start and an end, a deleted manifest keeps
 *   its row with `deleted_at` until garbage collection takes it.
 */
export interface Database {
  repositories: RepositoryTable;
  manifests: ManifestTable;
  manifest_references: ManifestReferenceTable;
  tags: TagTable;
  blobs: BlobTable;
  moved_blobs: MovedBlobTable;
  links: LinkTable;
  uploads: UploadTable;
  ended_uploads: EndedUploadTable;
  review_queue: ReviewTable;
  outbox: OutboxTable;
  users: UserTable;
  refresh_tokens: RefreshTokenTable;
  signing_keys: SigningKeyTable;
  login_failures: LoginFailureTable;
  leases: LeaseTable;
  nodes: NodeTable;
  settings: SettingTable;
}

export interface RepositoryTable {
  id: Generated<number>;
  name: string;
  created_at: number;
  created_by: string;
}

export interface ManifestTable {
  repository_id: number;
  digest: Uint8Array;
  /** As pushed, without parameters; the first type of a digest stays (CVE-2021-41190). */
  media_type: string;
  size_bytes: number;
  /** Exactly as pushed. */
  bytes: Uint8Array;
  artifact_type: string | null;
  subject: Uint8Array | null;
  pushed_at: number;
  pushed_by: string;
  deleted_at: number | null;
  deleted_by: string | null;
  /** JSON of what the referrers list shows, kept only where there is a subject. */
  descriptor: string | null;
}

/** What a manifest points at. The bytes stay the truth; these rows are their index. */
export interface ManifestReferenceTable {
  repository_id: number;
  manifest: Uint8Array;
  /** Position within its kind. */
  position: number;
  kind: ReferenceKind;
  target: Uint8Array;
  media_type: string;
  size_bytes: number;
}

/**
 * `blob_child`: an index entry that is a blob (BuildKit's older cache exports). `foreign`: a layer with `urls` that need
 * not be here.
 */
export type ReferenceKind = 'config' | 'layer' | 'child' | 'blob_child' | 'subject' | 'foreign';

/** A tag is an interval: a move ends one row and starts the next, a delete only ends. At most one open row per name. */
export interface TagTable {
  id: Generated<number>;
  repository_id: number;
  name: string;
  digest: Uint8Array;
  started_at: number;
  started_by: string;
  ended_at: number | null;
  ended_by: string | null;
  end_reason: 'moved' | 'deleted' | 'manifest_deleted' | null;
}

/**
 * `placing`: an upload is about to put the bytes there, or died doing so. `present`: the bytes are there and durable.
 * `deleting`: garbage collection decided; reads answer as if it were gone.
 */
export type BlobState = 'placing' | 'present' | 'deleting';

export interface BlobTable {
  digest: Uint8Array;
  size_bytes: number;
  location: string;
  state: BlobState;
  created_at: number;
  /** Last commit, mount, HEAD by a pusher or manifest check: the grace period counts from here. */
  touched_at: number;
}

/** Bytes that a blob left behind when it moved to another store: nothing reads them any more. */
export interface MovedBlobTable {
  location: string;
  digest: Uint8Array;
  moved_at: number;
}

/** A repository serves a blob only through a link. */
export interface LinkTable {
  repository_id: number;
  digest: Uint8Array;
  linked_at: number;
  linked_by: string;
}

export interface UploadTable {
  id: string;
  repository: string;
  principal: string;
  /** `sha256` or `sha512`: what the running hash computes. */
  algorithm: string;
  offset_bytes: number;
  /** Digest of the first `offset_bytes` bytes, if the process that received them computed it. */
  digest_so_far: Uint8Array | null;
  /** The run of the program that wrote `digest_so_far`: after a restart the staged bytes are read again. */
  hashed_in_run: string | null;
  /** The digest that a closing request has verified: nothing is appended any more. */
  closing_as: Uint8Array | null;
  lease_token: string | null;
  lease_until: number | null;
  /** Another request waits for this upload: the holder gives it up at its next renewal. */
  lease_wanted: number;
  started_at: number;
  expires_at: number;
}

/** An upload that became no blob: what it left in the vault, or what comes there late, has nothing else that leads to it. */
export interface EndedUploadTable {
  id: string;
  ended_at: number;
}

/** What may have become garbage, and when to look. One open row per subject: a repeat only moves `due_at` forward. */
export interface ReviewTable {
  id: Generated<number>;
  kind: 'blob' | 'manifest' | 'link';
  /** 0 for `blob`: a blob belongs to no repository. */
  repository_id: number;
  digest: Uint8Array;
  reason: ReviewReason;
  queued_at: number;
  due_at: number;
  attempts: number;
}

export type ReviewReason =
  | 'upload_committed'
  | 'blob_mounted'
  | 'blob_unlinked'
  | 'manifest_pushed'
  | 'manifest_deleted'
  | 'tag_moved'
  | 'tag_deleted';

/** Events written in the transaction that they tell of; webhooks, audit and replication read them. */
export interface OutboxTable {
  id: Generated<number>;
  kind: string;
  repository: string;
  principal: string;
  occurred_at: number;
  /** JSON. */
  payload: string;
}

export interface UserTable {
  name: string;
  /** PHC string (argon2id). */
  password_hash: string;
  administrator: number;
  created_at: number;
  changed_at: number;
}

export interface RefreshTokenTable {
  /** SHA-256 of the token: the token itself is never stored. */
  token_hash: Uint8Array;
  user_name: string;
  service: string;
  client_id: string;
  /** The credential stamp at the time of issue: a changed password ends the token. */
  stamp: string;
  created_at: number;
  used_at: number;
  expires_at: number;
}

export interface SigningKeyTable {
  key_id: string;
  algorithm: string;
  /** JSON Web Keys. */
  private_jwk: string;
  public_jwk: string;
  created_at: number;
  /** Signs until then, verifies until `expires_at`. */
  retired_at: number;
  expires_at: number;
}

export interface LoginFailureTable {
  /** `account:<name>` or `address:<ip>`. */
  key: string;
  failures: number;
  blocked_until: number;
  forget_at: number;
}

/** A job holds a name until `until`; `fence` grows by one with each holder. Times are the ledger's. */
export interface LeaseTable {
  name: string;
  holder: string;
  until: number;
  fence: number;
  /** Nobody takes it before: what it is for was done a moment ago. */
  rests_until: Generated<number>;
}

/** A run of the program. Times are the ledger's. */
export interface NodeTable {
  id: string;
  name: string;
  version: string;
  schema_version: number;
  /** JSON: an array of strings. */
  addresses: string;
  started_at: number;
  seen_at: number;
  /** It reports again before. */
  seen_until: number;
  skew_millis: number;
  draining: number;
}

export interface SettingTable {
  key: string;
  value: string;
}
