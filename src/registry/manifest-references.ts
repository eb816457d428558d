import type { ManifestReference, MetaTransaction, RepositoryId } from '../meta/meta-store.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { ManifestReferenceDraft } from '../oci/manifest.ts';
import { isManifestMediaType } from '../oci/media-types.ts';

/** Missing digests that an error lists. */
const missingListedMax = 100;

export interface ResolveScope {
  readonly tx: MetaTransaction;
  readonly at: number;
  /** Layers and children may be absent: mirrors of a single platform. Configs may not. */
  readonly sparse: boolean;
}

/**
 * Checks what a manifest points at, in the transaction that stores it, and touches it: from here until the commit garbage
 * collection cannot take it, and after it the manifest holds it. Only what this very repository serves counts, or a
 * manifest would be a way to read other people's blobs.
 */
export async function resolveReferences(
  scope: ResolveScope,
  repository: RepositoryId,
  drafts: readonly ManifestReferenceDraft[],
): Promise<readonly ManifestReference[]> {
  const blobs = drafts.filter((draft) => draft.kind === 'config' || draft.kind === 'layer');
  const children = drafts.filter((draft) => draft.kind === 'child');
  const manifests = await scope.tx.manifests.liveAmong(repository, targetsOf(children));
  // Build caches list layers in an index. What calls itself a manifest has to be one: pushed as a blob it would be no
  // child of the index, and deleting it later would go round the index's immutable tags.
  const unresolved = children.filter(
    (draft) => !manifests.has(draft.target) && !isManifestMediaType(draft.mediaType),
  );
  const served = await touchServed(scope, repository, [...blobs, ...unresolved]);

  const isMissing = (draft: ManifestReferenceDraft): boolean => {
    if (draft.kind === 'foreign' || draft.kind === 'subject') return false;
    if (served.has(draft.target) || (draft.kind === 'child' && manifests.has(draft.target))) return false;
    return draft.kind === 'config' || !scope.sparse;
  };
  const missing = [...new Set(drafts.filter(isMissing).map((draft) => draft.target))];
  if (missing.length > 0) throw missingContent(missing);
  return drafts.map((draft) => {
    const isBlobChild = draft.kind === 'child' && !manifests.has(draft.target) && served.has(draft.target);
    return isBlobChild ? { ...draft, kind: 'blob_child' } : draft;
  });
}

async function touchServed(
  scope: ResolveScope,
  repository: RepositoryId,
  drafts: readonly ManifestReferenceDraft[],
): Promise<ReadonlySet<Digest>> {
  const linked = await scope.tx.blobs.linkedAmong(repository, targetsOf(drafts));
  return scope.tx.blobs.touchAmong([...linked], scope.at);
}

function targetsOf(drafts: readonly ManifestReferenceDraft[]): readonly Digest[] {
  return [...new Set(drafts.map((draft) => draft.target))];
}

function missingContent(missing: readonly Digest[]): RegistryError {
  const [first] = missing;
  const others = missing.length === 1 ? '' : ` and ${missing.length - 1} more`;
  return new RegistryError(
    'MANIFEST_BLOB_UNKNOWN',
    `the manifest refers to ${first}${others}, which is not in this repository: push it first`,
    { detail: { digests: missing.slice(0, missingListedMax) } },
  );
}
