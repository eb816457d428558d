import {
  type BlobLocation,
  type BlobStore,
  SIZE_UNKNOWN,
  type StoredBlob,
  type UploadId,
} from '../blobs/blob-store.ts';
import { DamagedBlob } from '../blobs/damaged-blob.ts';
import type {
  LinkScanEntry,
  ManifestReference,
  ManifestScanEntry,
  MetaStore,
  StoredBlobRow,
} from '../meta/meta-store.ts';
import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts';
import { RunningDigest } from './running-digests.ts';

/** Rows, or stored blobs, read at a time: memory does not grow with what is stored. */
const pageMax = 500;
/** Manifests come with their bytes, up to 4 MiB each. */
const manifestPageMax = 16;
/** Stored blobs held in memory while the rows are read past them. */
const orphanBatchMax = 100_000;

type FindingKind =
  | 'blob_missing'
  | 'blob_size'
  | 'blob_digest'
  | 'blob_orphan'
  | 'manifest_digest'
  | 'reference_missing'
  | 'link_without_blob';

export interface Finding {
  readonly kind: FindingKind;
  /** `damage`: something that was promised is not there. `waste`: bytes that nobody needs. */
  readonly severity: 'damage' | 'waste';
  readonly digest: Digest | null;
  readonly repository: string | null;
  readonly location: BlobLocation | null;
  /** A sentence for a person. */
  readonly message: string;
}

export interface FsckOptions {
  /** Reads every byte of every blob again. */
  readonly rehash: boolean;
  readonly signal: AbortSignal;
}

export interface FsckDeps {
  readonly meta: Pick<MetaStore, 'read'>;
  readonly blobs: BlobStore;
}

/** Compares the ledger with the vault, both ways. Changes nothing; pushes may go on meanwhile. */
export async function* fsck(deps: FsckDeps, options: FsckOptions): AsyncIterable<Finding> {
  yield* checkBlobs(deps, options);
  yield* checkOrphans(deps, options);
  yield* checkLinks(deps, options);
  yield* checkManifests(deps, options);
}

async function* checkBlobs(deps: FsckDeps, options: FsckOptions): AsyncIterable<Finding> {
  for await (const row of blobRows(deps)) {
    options.signal.throwIfAborted();
    if (row.state === 'present') yield* checkBlob(deps, row, options);
  }
}

async function* checkBlob(deps: FsckDeps, row: StoredBlobRow, options: FsckOptions): AsyncIterable<Finding> {
  const { digest, location } = row;
  const about = { digest, location, repository: null, severity: 'damage' } as const;
  if (!deps.blobs.owns(location)) {
    const message = `blob ${digest}: it is in a store that is not configured (${location})`;
    yield { ...about, kind: 'blob_missing', message };
    return;
  }
  const stored = await deps.blobs.stat(location);
  if (stored === null) {
    // A deletion since the page was read is no damage.
    if (await isStillPresent(deps, digest)) {
      yield { ...about, kind: 'blob_missing', message: `blob ${digest}: its bytes are missing` };
    }
    return;
  }
  if (stored.sizeBytes !== row.sizeBytes) {
    const found =
      stored.sizeBytes === SIZE_UNKNOWN
        ? 'what is stored cannot be read'
        : `${stored.sizeBytes} bytes are stored`;
    const message = `blob ${digest}: ${found}, ${row.sizeBytes} are recorded`;
    yield { ...about, kind: 'blob_size', message };
    return;
  }
  if (!options.rehash) return;
  let actual: Digest | null;
  try {
    actual = await rehash(deps, row, options.signal);
  } catch (error) {
    if (!(error instanceof DamagedBlob)) throw error;
    // It may have moved, or been deleted, since the page was read.
    if ((await deps.meta.read.blobs.find(digest))?.location !== location) return;
    yield { ...about, kind: 'blob_digest', message: `blob ${digest}: ${error.message}` };
    return;
  }
  if (actual !== null && actual !== digest) {
    yield { ...about, kind: 'blob_digest', message: `blob ${digest}: its bytes have the digest ${actual}` };
  }
}

async function rehash(deps: FsckDeps, row: StoredBlobRow, signal: AbortSignal): Promise<Digest | null> {
  // Without the digest: it is what the store itself keeps that is looked at.
  const body = await deps.blobs.open(row.location, null, signal);
  if (body === null) return null;
  try {
    const running = new RunningDigest(digestAlgorithm(row.digest));
    for await (const chunk of body.chunks) running.update(chunk);
    return running.digest();
  } finally {
    await body.close();
  }
}

async function isStillPresent(deps: FsckDeps, digest: Digest): Promise<boolean> {
  return (await deps.meta.read.blobs.find(digest))?.state === 'present';
}

/**
 * The other way: bytes that no row knows. A batch of the listing is kept and the rows are read past it, since a location
 * says nothing about its digest. A row comes before its bytes, so what is listed first is known if it ever will be.
 */
async function* checkOrphans(deps: FsckDeps, options: FsckOptions): AsyncIterable<Finding> {
  let cursor: string | null = null;
  do {
    const batch = new Map<BlobLocation, StoredBlob>();
    do {
      const page: Awaited<ReturnType<BlobStore['list']>> = await deps.blobs.list(cursor, pageMax);
      for (const entry of page.entries) batch.set(entry.location, entry);
      cursor = page.cursor;
    } while (cursor !== null && batch.size < orphanBatchMax);
    for await (const row of blobRows(deps)) batch.delete(row.location);
    const open = await openAmong(deps, [...batch.values()]);
    for (const { location, sizeBytes, uploadId } of batch.values()) {
      options.signal.throwIfAborted();
      if (uploadId !== null && open.has(uploadId)) continue;
      if ((await deps.blobs.stat(location)) === null) continue;
      const message = `${location}: ${sizeBytes === SIZE_UNKNOWN ? '' : `${sizeBytes} `}bytes that no blob needs`;
      yield { kind: 'blob_orphan', severity: 'waste', digest: null, repository: null, location, message };
    }
  } while (cursor !== null);
}

/** Bytes at an open upload's own place may become its blob yet. */
async function openAmong(deps: FsckDeps, stored: readonly StoredBlob[]): Promise<ReadonlySet<UploadId>> {
  return deps.meta.read.uploads.known(stored.flatMap(({ uploadId }) => uploadId ?? []));
}

async function* blobRows(deps: FsckDeps): AsyncIterable<StoredBlobRow> {
  let after: Digest | null = null;
  for (;;) {
    const page: readonly StoredBlobRow[] = await deps.meta.read.blobs.scan(after, pageMax);
    yield* page;
    after = page.at(-1)?.digest ?? null;
    if (page.length < pageMax) return;
  }
}

async function* checkLinks(deps: FsckDeps, options: FsckOptions): AsyncIterable<Finding> {
  let after: LinkScanEntry | null = null;
  for (;;) {
    const page: readonly LinkScanEntry[] = await deps.meta.read.blobs.scanLinks(after, pageMax);
    for (const link of page) {
      options.signal.throwIfAborted();
      if (link.blobState === 'present') continue;
      const message = `${link.repository} links blob ${link.digest}, which is ${link.blobState ?? 'not recorded'}`;
      const { digest, repository } = link;
      yield { kind: 'link_without_blob', severity: 'damage', digest, repository, location: null, message };
    }
    after = page.at(-1) ?? null;
    if (page.length < pageMax) return;
  }
}

async function* checkManifests(deps: FsckDeps, options: FsckOptions): AsyncIterable<Finding> {
  let after: ManifestScanEntry | null = null;
  for (;;) {
    const page: readonly ManifestScanEntry[] = await deps.meta.read.manifests.scan(after, manifestPageMax);
    for (const manifest of page) {
      options.signal.throwIfAborted();
      if (manifest.live) yield* checkManifest(deps, manifest);
    }
    after = page.at(-1) ?? null;
    if (page.length < manifestPageMax) return;
  }
}

async function* checkManifest(deps: FsckDeps, manifest: ManifestScanEntry): AsyncIterable<Finding> {
  const { digest, repository } = manifest;
  const about = { digest, repository, location: null, severity: 'damage' } as const;
  const actual = digestOf(digestAlgorithm(digest), manifest.bytes);
  if (actual !== digest) {
    const message = `${repository}@${digest}: the stored bytes have the digest ${actual}`;
    yield { ...about, kind: 'manifest_digest', message };
  }
  for (const reference of await missingReferences(deps, manifest)) {
    const message = `${repository}@${digest}: its ${reference.kind} ${reference.target} is not in the repository`;
    yield { ...about, kind: 'reference_missing', message };
  }
}

/** Children may be absent where sparse indexes are allowed, and foreign layers and subjects always: not damage. */
async function missingReferences(
  deps: FsckDeps,
  manifest: ManifestScanEntry,
): Promise<readonly ManifestReference[]> {
  const references = await deps.meta.read.manifests.references(manifest.repositoryId, manifest.digest);
  const needed = references.filter(
    ({ kind }) => kind === 'config' || kind === 'layer' || kind === 'blob_child',
  );
  if (needed.length === 0) return [];
  const linked = await deps.meta.read.blobs.linkedAmong(
    manifest.repositoryId,
    needed.map((reference) => reference.target),
  );
  return needed.filter((reference) => !linked.has(reference.target));
}
