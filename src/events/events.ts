import type { MetaTransaction } from '../meta/meta-store.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Tag } from '../oci/reference.ts';

/**
 * One function per thing that happened. Each writes its row to the outbox within the transaction that it tells of, so
 * that an event exists exactly when its change does. Pulls are not written: a read must not cost a write.
 */
export interface EventScope {
  readonly tx: Pick<MetaTransaction, 'queues'>;
  readonly repository: RepositoryName;
  readonly principal: string;
  readonly at: number;
}

export async function blobPushed(
  scope: EventScope,
  blob: { readonly digest: Digest; readonly sizeBytes: number },
): Promise<void> {
  await publish(scope, 'blob.pushed', { digest: blob.digest, sizeBytes: blob.sizeBytes });
}

export async function blobMounted(
  scope: EventScope,
  mount: { readonly digest: Digest; readonly from: RepositoryName },
): Promise<void> {
  await publish(scope, 'blob.mounted', { digest: mount.digest, from: mount.from });
}

export async function blobDeleted(scope: EventScope, digest: Digest): Promise<void> {
  await publish(scope, 'blob.deleted', { digest });
}

export async function manifestPushed(
  scope: EventScope,
  manifest: { readonly digest: Digest; readonly mediaType: string; readonly sizeBytes: number },
): Promise<void> {
  await publish(scope, 'manifest.pushed', {
    digest: manifest.digest,
    mediaType: manifest.mediaType,
    sizeBytes: manifest.sizeBytes,
  });
}

export async function manifestDeleted(scope: EventScope, digest: Digest): Promise<void> {
  await publish(scope, 'manifest.deleted', { digest });
}

/** `before` is what the tag meant until now: null when it is new. */
export async function tagSet(
  scope: EventScope,
  change: { readonly tag: Tag; readonly digest: Digest; readonly before: Digest | null },
): Promise<void> {
  await publish(scope, change.before === null ? 'tag.created' : 'tag.moved', {
    tag: change.tag,
    digest: change.digest,
    before: change.before,
  });
}

export async function tagDeleted(
  scope: EventScope,
  change: { readonly tag: Tag; readonly digest: Digest },
): Promise<void> {
  await publish(scope, 'tag.deleted', { tag: change.tag, digest: change.digest });
}

async function publish(
  scope: EventScope,
  kind: string,
  payload: Readonly<Record<string, unknown>>,
): Promise<void> {
  await scope.tx.queues.publish({
    kind,
    repository: scope.repository,
    principal: scope.principal,
    occurredAt: scope.at,
    payload,
  });
}
