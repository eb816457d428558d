import type { MetaStore } from '../meta/meta-store.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';

/** Cut by bytes, not by count: the libraries below cosign, trivy and crane read only the first page, 4 MiB of it. */
const referrersBytesMax = 3.5 * 1024 * 1024;
/** Rows that are counted at a time. */
const ledgerPageMax = 16_384;

export interface ReferrersRequest {
  readonly repository: RepositoryName;
  readonly subject: Digest;
  readonly artifactType: string | null;
  readonly after: Digest | null;
  /** Null: as many as fit one response. */
  readonly limit: number | null;
}

export interface ReferrersPage {
  /** JSON of the descriptors, with commas between them. */
  readonly descriptors: string;
  readonly last: Digest | null;
  readonly more: boolean;
}

/** A repository that does not exist has no referrers: clients ask before the first push. */
export async function listReferrers(
  deps: { readonly meta: Pick<MetaStore, 'read'> },
  request: ReferrersRequest,
): Promise<ReferrersPage> {
  const { manifests, repositories } = deps.meta.read;
  const repository = await repositories.find(request.repository);
  if (repository === null || request.limit === 0) return { descriptors: '', last: null, more: false };
  const { subject, artifactType } = request;
  const texts: string[] = [];
  let last = request.after;
  let bytesLeft = referrersBytesMax;
  let entriesLeft = request.limit ?? Number.POSITIVE_INFINITY;
  let rows = Math.min(entriesLeft, ledgerPageMax);
  const pageOf = (more: boolean): ReferrersPage => ({ descriptors: texts.join(','), last, more });
  for (;;) {
    const query = { repository: repository.id, subject, artifactType, after: last, limit: rows };
    const { count, bytes } = await manifests.referrersSize(query);
    if (count === 0) return pageOf(false);
    // One that is larger than a whole response still has to be seen.
    const fits = bytes + count <= bytesLeft || (count === 1 && texts.length === 0);
    if (entriesLeft === 0 || (!fits && count === 1)) return pageOf(true);
    if (!fits) {
      rows = Math.floor(count / 2);
      continue;
    }
    const stretch = await manifests.referrersText({ ...query, limit: count });
    // Null: all of them were deleted meanwhile.
    if (stretch.last === null) return pageOf(false);
    texts.push(stretch.text);
    last = stretch.last;
    if (count < rows) return pageOf(false);
    bytesLeft -= bytes + count;
    entriesLeft -= count;
    rows = Math.max(1, Math.min(entriesLeft, rows));
  }
}

export interface DescribedReferrer {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly artifactType: string | null;
  readonly annotations: Readonly<Record<string, string>> | null;
}

/** The descriptor in the list as JSON (distribution-spec, "Listing Referrers"): the ledger keeps it, so that a list is only read. */
export function describeReferrer(referrer: DescribedReferrer): string {
  return JSON.stringify({
    mediaType: referrer.mediaType,
    digest: referrer.digest,
    size: referrer.sizeBytes,
    ...(referrer.artifactType === null ? {} : { artifactType: referrer.artifactType }),
    ...(referrer.annotations === null ? {} : { annotations: referrer.annotations }),
  });
}
