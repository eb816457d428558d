import type { BlobLocation, UploadId } from '../../blobs/blob-store.ts';
import { type Digest, digestOf } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import type {
  MetaStore,
  MetaTransaction,
  NewManifest,
  PlacedBytes,
  Repository,
  RepositoryId,
  Upload,
} from '../meta-store.ts';

export interface ContractFixture {
  readonly open: () => Promise<MetaStore>;
  readonly check: (name: string, body: (store: MetaStore) => Promise<void>) => void;
}

export const DEMO = 'ghost/demo' as RepositoryName;
export const OTHER = 'ghost/other' as RepositoryName;
export const LOCATION = 'somewhere' as BlobLocation;

export function named(name: string): RepositoryName {
  return name as RepositoryName;
}

export function tagged(name: string): Tag {
  return name as Tag;
}

export function digestFor(text: string): Digest {
  return digestOf('sha256', Buffer.from(text));
}

export function inByteOrder(digests: readonly Digest[]): readonly Digest[] {
  return digests.toSorted();
}

export function manifestOf(text: string, more: Partial<NewManifest> = {}): NewManifest {
  const bytes = Buffer.from(text);
  return {
    digest: digestOf('sha256', bytes),
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    sizeBytes: bytes.byteLength,
    bytes,
    artifactType: null,
    subject: null,
    descriptor: null,
    references: [],
    ...more,
  };
}

export function uploadOf(id: string, more: Partial<Upload> = {}): Upload {
  return {
    id: id as UploadId,
    repository: DEMO,
    principal: 'ann',
    algorithm: 'sha256',
    offsetBytes: 0,
    digestSoFar: null,
    hashedInRun: null,
    closingAs: null,
    startedAt: 1,
    expiresAt: 100,
    ...more,
  };
}

export async function ensure(store: MetaStore, name: RepositoryName = DEMO): Promise<Repository> {
  return await store.transaction((tx) => tx.repositories.ensure(name, 'ann', 1));
}

export async function put(store: MetaStore, repository: Repository, manifest: NewManifest): Promise<void> {
  await store.transaction((tx) => tx.manifests.put(repository.id, manifest, 'ann', 2));
}

/** As a rule does it: looks, then sets. What the tag meant before. */
export async function setTag(
  tx: MetaTransaction,
  repository: RepositoryId,
  change: { readonly tag: string; readonly digest: Digest; readonly by: string; readonly at: number },
): Promise<Digest | null> {
  const tag = tagged(change.tag);
  const before = await tx.tags.find(repository, tag);
  await tx.tags.set(repository, { tag, before, digest: change.digest }, change.by, change.at);
  return before;
}

/** Three bytes of this digest, where the tests' blobs lie. */
export function bytesOf(digest: Digest): PlacedBytes {
  return { digest, sizeBytes: 3, location: LOCATION };
}

/** A present blob that the repository links. */
export async function placeLinked(store: MetaStore, repository: Repository, digest: Digest): Promise<void> {
  await store.transaction(async (tx) => {
    await tx.blobs.claim(bytesOf(digest), 5);
    await tx.blobs.place(bytesOf(digest), null, 5);
    await tx.blobs.link(repository.id, digest, 'ann', 5);
  });
}
