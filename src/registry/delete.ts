import { blobDeleted, type EventScope, manifestDeleted, tagDeleted } from '../events/events.ts';
import type { MetaStore, MetaTransaction, Repository } from '../meta/meta-store.ts';
import type { ReviewReason } from '../meta/schema.ts';
import type { Digest } from '../oci/digest.ts';
import { type ErrorCode, RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Tag } from '../oci/reference.ts';
import type { Clock } from '../std/clock.ts';
import type { Immutability } from './immutability.ts';

export interface DeleteDeps {
  readonly meta: MetaStore;
  readonly clock: Clock;
  readonly immutability: Immutability;
  /** The delete switch: one place, so that no door goes round it. */
  readonly deletesAllowed: boolean;
  readonly graceSeconds: number;
}

export interface DeleteKey {
  readonly repository: RepositoryName;
  readonly principal: string;
}

/** Deletes only end things in the ledger; bytes go when garbage collection has looked at the review queue. */
interface DeleteScope extends EventScope {
  readonly tx: MetaTransaction;
  readonly found: Repository;
  readonly dueAt: number;
}

export async function deleteTag(deps: DeleteDeps, key: DeleteKey, tag: Tag): Promise<void> {
  await inRepository(deps, key, 'MANIFEST_UNKNOWN', async (scope) => {
    const digest = await scope.tx.tags.find(scope.found.id, tag);
    if (digest === null) throw new RegistryError('MANIFEST_UNKNOWN', null, { detail: { tag } });
    deps.immutability.check(tag, { before: digest, after: null });
    await scope.tx.tags.end(scope.found.id, tag, scope.principal, scope.at, 'deleted');
    await reviewManifest(scope, digest, 'tag_deleted');
    await tagDeleted(scope, { tag, digest });
  });
}

/** Ends the manifest and every tag on it. */
export async function deleteManifest(deps: DeleteDeps, key: DeleteKey, digest: Digest): Promise<void> {
  await inRepository(deps, key, 'MANIFEST_UNKNOWN', async (scope) => {
    const { tx, found } = scope;
    const state = await tx.manifests.state(found.id, digest);
    if (state === null || !state.live)
      throw new RegistryError('MANIFEST_UNKNOWN', null, { detail: { digest } });
    await deps.immutability.checkDelete(tx, found.id, digest);
    for (const tag of await tx.tags.onManifest(found.id, digest)) {
      await tx.tags.end(found.id, tag, scope.principal, scope.at, 'manifest_deleted');
      await tagDeleted(scope, { tag, digest });
    }
    await tx.manifests.delete(found.id, digest, scope.principal, scope.at);
    await reviewManifest(scope, digest, 'manifest_deleted');
    await manifestDeleted(scope, digest);
  });
}

/** Unlinks a blob that no manifest of the repository needs; others that link it keep it. */
export async function deleteBlob(deps: DeleteDeps, key: DeleteKey, digest: Digest): Promise<void> {
  await inRepository(deps, key, 'BLOB_UNKNOWN', async (scope) => {
    const { tx, found } = scope;
    if (!(await tx.blobs.unlink(found.id, digest))) {
      throw new RegistryError('BLOB_UNKNOWN', null, { detail: { digest } });
    }
    const manifest = await tx.manifests.referencedBy(found.id, digest);
    if (manifest !== null) {
      throw new RegistryError('DENIED', `manifest ${manifest} needs this blob: delete the manifest first`, {
        detail: { digest, manifest },
      });
    }
    const review = {
      kind: 'blob',
      repositoryId: null,
      digest,
      reason: 'blob_unlinked',
      dueAt: scope.dueAt,
    } as const;
    await tx.queues.review(review, scope.at);
    await blobDeleted(scope, digest);
  });
}

async function inRepository(
  deps: DeleteDeps,
  key: DeleteKey,
  absent: ErrorCode,
  work: (scope: DeleteScope) => Promise<void>,
): Promise<void> {
  if (!deps.deletesAllowed)
    throw new RegistryError('UNSUPPORTED', 'deleting is switched off on this registry');
  const run = async (tx: MetaTransaction): Promise<void> => {
    const found = await tx.repositories.findAlone(key.repository);
    if (found === null) throw new RegistryError(absent);
    const at = deps.clock.now();
    await work({ tx, found, at, dueAt: at + deps.graceSeconds * 1000, ...key });
  };
  await deps.meta.transaction(run, { concurrent: true });
}

async function reviewManifest(scope: DeleteScope, digest: Digest, reason: ReviewReason): Promise<void> {
  const { found, dueAt } = scope;
  await scope.tx.queues.review({ kind: 'manifest', repositoryId: found.id, digest, reason, dueAt }, scope.at);
}
