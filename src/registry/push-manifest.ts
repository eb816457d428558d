import { type EventScope, manifestPushed, tagSet } from '../events/events.ts';
import type { ManifestReference, MetaStore, MetaTransaction, RepositoryId } from '../meta/meta-store.ts';
import type { ReviewReason } from '../meta/schema.ts';
import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import { type ParsedManifest, parseManifest } from '../oci/manifest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Reference, Tag } from '../oci/reference.ts';
import type { Clock } from '../std/clock.ts';
import type { Immutability } from './immutability.ts';
import { resolveReferences } from './manifest-references.ts';
import { describeReferrer } from './referrers.ts';

export interface PushManifestDeps {
  readonly meta: MetaStore;
  readonly clock: Clock;
  readonly immutability: Immutability;
  readonly sparse: boolean;
  readonly manifestBytesMax: number;
  readonly descriptorsMax: number;
  readonly tagParametersMax: number;
  readonly graceSeconds: number;
}

/** `If-Match` and `If-None-Match: *` of RFC 9110, 13.1: create only, or replace only what the client has seen. */
export interface PushCondition {
  /** The digests that may be replaced; null: any. */
  readonly replaces: ReadonlySet<string> | 'anything' | null;
  readonly createsOnly: boolean;
}

export interface PushManifestRequest {
  readonly repository: RepositoryName;
  readonly principal: string;
  readonly reference: Reference;
  /** Of `?tag=`, beside a digest in the path. */
  readonly tags: readonly Tag[];
  readonly bytes: Uint8Array;
  readonly contentType: string | null;
  readonly condition: PushCondition;
}

export interface PushedManifest {
  readonly digest: Digest;
  readonly subject: Digest | null;
  readonly tags: readonly Tag[];
}

interface Push {
  readonly request: PushManifestRequest;
  readonly digest: Digest;
  readonly parsed: ParsedManifest;
  /** Every tag that is to mean the manifest, from the path or the query. */
  readonly tags: readonly Tag[];
}

export async function pushManifest(
  deps: PushManifestDeps,
  request: PushManifestRequest,
): Promise<PushedManifest> {
  const { reference, bytes } = request;
  if (request.tags.length > deps.tagParametersMax) {
    throw new RegistryError(
      'TAGS_TOO_MANY',
      `at most ${deps.tagParametersMax} tags are accepted in one request`,
    );
  }
  if (reference.kind === 'tag' && request.tags.length > 0) {
    throw new RegistryError('REQUEST_INVALID', 'a tag in the path and the tag parameter do not go together');
  }
  const digest = digestOf(reference.kind === 'digest' ? digestAlgorithm(reference.digest) : 'sha256', bytes);
  if (reference.kind === 'digest' && reference.digest !== digest) {
    throw new RegistryError('DIGEST_INVALID', 'the manifest does not have the digest in its address', {
      detail: { expected: reference.digest, actual: digest },
    });
  }
  const parsed = parseManifest({
    bytes,
    contentType: request.contentType,
    limits: { bytesMax: deps.manifestBytesMax, descriptorsMax: deps.descriptorsMax },
  });
  const tags = reference.kind === 'tag' ? [reference.tag] : [...new Set(request.tags)];
  await deps.meta.transaction((tx) => store(deps, tx, { request, digest, parsed, tags }), {
    concurrent: true,
  });
  return { digest, subject: parsed.subject?.digest ?? null, tags };
}

/**
 * All checks stand in the transaction that writes: nothing they rely on can change before it ends. What the repository has
 * stays (`ensure`), and of two that set one tag the second finds what the first did.
 */
async function store(deps: PushManifestDeps, tx: MetaTransaction, push: Push): Promise<void> {
  const { request, digest, parsed } = push;
  const at = deps.clock.now();
  const { principal } = request;
  const repository = await tx.repositories.ensure(request.repository, principal, at);
  const scope: EventScope = { tx, repository: request.repository, principal, at };
  // What the tags mean is looked at once: a push that has set one since makes this one run again, with all its checks.
  const before = await tagsBefore(tx, repository.id, push.tags);
  await checkCondition({ tx, repository: repository.id, before }, push);
  const references = await resolveReferences(
    { tx, at, sparse: deps.sparse },
    repository.id,
    parsed.references,
  );
  if (!(await tx.manifests.put(repository.id, newManifest(push, references), principal, at))) {
    throw await otherMediaType(tx, repository.id, push);
  }
  const dueAt = at + deps.graceSeconds * 1000;
  const review = (subject: Digest, reason: ReviewReason): Promise<void> =>
    tx.queues.review({ kind: 'manifest', repositoryId: repository.id, digest: subject, reason, dueAt }, at);
  await review(digest, 'manifest_pushed');
  await manifestPushed(scope, { digest, mediaType: parsed.mediaType, sizeBytes: request.bytes.byteLength });
  for (const tag of push.tags) {
    const was = before.get(tag) ?? null;
    deps.immutability.check(tag, { before: was, after: digest });
    if (was === digest) continue;
    await tx.tags.set(repository.id, { tag, before: was, digest }, principal, at);
    if (was !== null) await review(was, 'tag_moved');
    await tagSet(scope, { tag, digest, before: was });
  }
}

async function tagsBefore(
  tx: MetaTransaction,
  repository: RepositoryId,
  tags: readonly Tag[],
): Promise<ReadonlyMap<Tag, Digest | null>> {
  const before = new Map<Tag, Digest | null>();
  for (const tag of tags) before.set(tag, await tx.tags.find(repository, tag));
  return before;
}

/** Bytes that were once served as one type are not served as another (CVE-2021-41190). */
async function otherMediaType(
  tx: MetaTransaction,
  repository: RepositoryId,
  push: Push,
): Promise<RegistryError> {
  const known = await tx.manifests.state(repository, push.digest);
  return new RegistryError(
    'MANIFEST_INVALID',
    `this manifest is stored as ${known?.mediaType} and cannot become ${push.parsed.mediaType}`,
  );
}

interface Standing {
  readonly tx: MetaTransaction;
  readonly repository: RepositoryId;
  /** What each tag of the push meant. */
  readonly before: ReadonlyMap<Tag, Digest | null>;
}

async function checkCondition(standing: Standing, push: Push): Promise<void> {
  const { condition, reference } = push.request;
  if (condition.replaces === null && !condition.createsOnly) return;
  const current = await currentDigest(standing, reference);
  if (condition.createsOnly && current !== null) {
    throw new RegistryError('PRECONDITION_FAILED', 'there is already a manifest of this name', {
      detail: { digest: current },
    });
  }
  if (condition.replaces === null) return;
  const matches = current !== null && (condition.replaces === 'anything' || condition.replaces.has(current));
  if (!matches) {
    throw new RegistryError('PRECONDITION_FAILED', 'the manifest of this name is not the one in If-Match', {
      detail: { digest: current },
    });
  }
}

async function currentDigest(
  { tx, repository, before }: Standing,
  reference: Reference,
): Promise<Digest | null> {
  if (reference.kind === 'tag') return before.get(reference.tag) ?? null;
  const state = await tx.manifests.state(repository, reference.digest);
  return state !== null && state.live ? state.digest : null;
}

function newManifest(push: Push, references: readonly ManifestReference[]) {
  const { parsed, request, digest } = push;
  const subject = parsed.subject?.digest ?? null;
  const sizeBytes = request.bytes.byteLength;
  return {
    digest,
    mediaType: parsed.mediaType,
    sizeBytes,
    bytes: request.bytes,
    artifactType: parsed.artifactType,
    subject,
    descriptor: subject === null ? null : describeReferrer({ ...parsed, digest, sizeBytes }),
    references,
  };
}
