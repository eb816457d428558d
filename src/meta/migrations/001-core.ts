import type { Migration, SqlWords } from './index.ts';

/**
 * Every list of the contract is a page from one of these indexes, every hot read a point read. Text is compared by bytes.
 * There are no foreign keys: a link may outlive its blob's row for a moment (fsck looks), and the rest is one writer's.
 */
export const core: Migration = {
  version: 1,
  name: 'core',
  statements: (words) => [
    ...repositories(words),
    ...manifests(words),
    ...tags(words),
    ...blobs(words),
    ...uploads(words),
    ...queues(words),
    ...access(words),
    ...leases(words),
  ],
};

function repositories({ id, text, integer }: SqlWords): string[] {
  return [
    `create table repositories (id ${id}, name ${text} not null unique, created_at ${integer} not null, created_by ${text} not null)`,
  ];
}

// A manifest's bytes are too long for a clustered key; the rows around it are short and live in theirs.
function manifests(words: SqlWords): string[] {
  const { text, integer, bytes, clustered, partitioned, partitions } = words;
  return [
    `create table manifests (
      repository_id ${integer} not null, digest ${bytes} not null, media_type ${text} not null,
      size_bytes ${integer} not null, artifact_type ${text}, subject ${bytes}, annotations ${text},
      pushed_at ${integer} not null, pushed_by ${text} not null, deleted_at ${integer}, deleted_by ${text},
      bytes ${bytes} not null, primary key (repository_id, digest))${partitioned('repository_id')}`,
    ...partitions('manifests'),
    'create index manifests_live on manifests (repository_id, digest) where deleted_at is null',
    'create index manifests_subject on manifests (repository_id, subject, digest) where subject is not null',
    `create table manifest_references (
      repository_id ${integer} not null, manifest ${bytes} not null, kind ${text} not null,
      position ${integer} not null, target ${bytes} not null, media_type ${text} not null,
      size_bytes ${integer} not null, primary key (repository_id, manifest, kind, position))${clustered}${partitioned('repository_id')}`,
    ...partitions('manifest_references'),
    'create index manifest_references_target on manifest_references (repository_id, target, kind, manifest)',
  ];
}

function tags({ idWithin, text, integer, bytes, partitioned, partitions }: SqlWords): string[] {
  const id = idWithin('repository_id');
  return [
    `create table tags (
      id ${id.column}, repository_id ${integer} not null, name ${text} not null, digest ${bytes} not null,
      started_at ${integer} not null, started_by ${text} not null, ended_at ${integer}, ended_by ${text}, end_reason ${text}${id.constraint})${partitioned('repository_id')}`,
    ...partitions('tags'),
    'create unique index tags_open on tags (repository_id, name) where ended_at is null',
    'create index tags_open_digest on tags (repository_id, digest, name) where ended_at is null',
    'create index tags_history on tags (repository_id, name, id)',
  ];
}

function blobs(words: SqlWords): string[] {
  const { text, integer, bytes, clustered, partitioned, partitions } = words;
  return [
    `create table blobs (
      digest ${bytes} not null primary key, size_bytes ${integer} not null, location ${text} not null,
      state ${text} not null, created_at ${integer} not null, touched_at ${integer} not null)${clustered}${partitioned('digest')}`,
    ...partitions('blobs'),
    `create table links (
      repository_id ${integer} not null, digest ${bytes} not null, linked_at ${integer} not null,
      linked_by ${text} not null, primary key (repository_id, digest))${clustered}${partitioned('repository_id')}`,
    ...partitions('links'),
    'create index links_digest on links (digest, repository_id)',
  ];
}

function uploads({ text, integer, bytes, clustered }: SqlWords): string[] {
  return [
    `create table uploads (
      id ${text} not null primary key, repository ${text} not null, principal ${text} not null, algorithm ${text} not null,
      offset_bytes ${integer} not null, digest_so_far ${bytes}, hashed_in_run ${text}, lease_token ${text},
      lease_until ${integer}, lease_wanted ${integer} not null, started_at ${integer} not null,
      expires_at ${integer} not null)${clustered}`,
    'create index uploads_expiry on uploads (expires_at, id)',
  ];
}

function queues({ id, text, integer, bytes }: SqlWords): string[] {
  return [
    `create table review_queue (
      id ${id}, kind ${text} not null, repository_id ${integer} not null, digest ${bytes} not null, reason ${text} not null,
      queued_at ${integer} not null, due_at ${integer} not null, attempts ${integer} not null)`,
    'create unique index review_queue_subject on review_queue (kind, repository_id, digest)',
    'create index review_queue_due on review_queue (due_at, id)',
    `create table outbox (
      id ${id}, kind ${text} not null, repository ${text} not null, principal ${text} not null,
      occurred_at ${integer} not null, payload ${text} not null)`,
  ];
}

function access({ text, integer, bytes, clustered }: SqlWords): string[] {
  return [
    `create table users (
      name ${text} not null primary key, password_hash ${text} not null, administrator ${integer} not null,
      created_at ${integer} not null, changed_at ${integer} not null)${clustered}`,
    `create table refresh_tokens (
      token_hash ${bytes} not null primary key, user_name ${text} not null, service ${text} not null,
      client_id ${text} not null, stamp ${text} not null, created_at ${integer} not null, used_at ${integer} not null,
      expires_at ${integer} not null)${clustered}`,
    'create index refresh_tokens_expiry on refresh_tokens (expires_at)',
    `create table signing_keys (
      key_id ${text} not null primary key, algorithm ${text} not null, private_jwk ${text} not null,
      public_jwk ${text} not null, created_at ${integer} not null, retired_at ${integer} not null,
      expires_at ${integer} not null)`,
    'create index signing_keys_expiry on signing_keys (expires_at)',
    `create table login_failures (
      key ${text} not null primary key, failures ${integer} not null, blocked_until ${integer} not null,
      forget_at ${integer} not null)${clustered}`,
    'create index login_failures_expiry on login_failures (forget_at)',
  ];
}

function leases({ text, integer, clustered }: SqlWords): string[] {
  return [
    `create table leases (
      name ${text} not null primary key, holder ${text} not null, "until" ${integer} not null,
      fence ${integer} not null)${clustered}`,
    `create table settings (key ${text} not null primary key, value ${text} not null)${clustered}`,
  ];
}
