import type { MetaStore, StoredManifest } from '../meta/meta-store.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Reference } from '../oci/reference.ts';

/**
 * The manifest as it was pushed. What `Accept` says is not asked: a stored manifest is never rewritten, and clients that
 * cannot read a type say so better than a 404 would.
 */
export async function pullManifest(
  deps: { readonly meta: Pick<MetaStore, 'read'> },
  repository: RepositoryName,
  reference: Reference,
): Promise<StoredManifest> {
  const { manifests } = deps.meta.read;
  const manifest =
    reference.kind === 'tag'
      ? await manifests.getByTag(repository, reference.tag)
      : await manifests.getByDigest(repository, reference.digest);
  if (manifest !== null) return manifest;
  throw new RegistryError('MANIFEST_UNKNOWN', null, {
    detail: reference.kind === 'tag' ? { tag: reference.tag } : { digest: reference.digest },
  });
}
