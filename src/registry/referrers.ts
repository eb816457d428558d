import type { MetaStore, Referrer } from '../meta/meta-store.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';

/** Cut by bytes, not by count: the libraries below cosign, trivy and crane read only the first page, 4 MiB of it. */
const referrersBytesMax = 3.5 * 1024 * 1024;
/** Rows at a time: each may hold annotations of up to a manifest's 4 MiB. */
const ledgerPageMax = 16;

export interface ReferrersRequest {
  readonly repository: RepositoryName;
  readonly subject: Digest;
  readonly artifactType: string | null;
  readonly after: Digest | null;
  /** Null: as many as fit one response. */
  readonly limit: number | null;
}

/** A descriptor in the list (distribution-spec, "Listing Referrers"). */
interface ReferrerDescriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ReferrersPage {
  readonly descriptors: readonly ReferrerDescriptor[];
  readonly more: boolean;
}

/** A repository that does not exist has no referrers: clients ask before the first push. */
export async function listReferrers(
  deps: { readonly meta: Pick<MetaStore, 'read'> },
  request: ReferrersRequest,
): Promise<ReferrersPage> {
  const repository = await deps.meta.read.repositories.find(request.repository);
  if (repository === null) return { descriptors: [], more: false };
  const limit = request.limit ?? Number.POSITIVE_INFINITY;
  const descriptors: ReferrerDescriptor[] = [];
  let bytes = 0;
  let { after } = request;
  while (limit > 0) {
    const page: readonly Referrer[] = await deps.meta.read.manifests.referrers({
      repository: repository.id,
      subject: request.subject,
      artifactType: request.artifactType,
      after,
      limit: ledgerPageMax,
    });
    for (const referrer of page) {
      const descriptor = describe(referrer);
      bytes += Buffer.byteLength(JSON.stringify(descriptor)) + 1;
      // One that is larger than a whole response still has to be seen.
      const full = descriptors.length > 0 && bytes > referrersBytesMax;
      if (descriptors.length >= limit || full) return { descriptors, more: true };
      descriptors.push(descriptor);
    }
    if (page.length < ledgerPageMax) break;
    after = page.at(-1)?.digest ?? null;
  }
  return { descriptors, more: false };
}

function describe(referrer: Referrer): ReferrerDescriptor {
  return {
    mediaType: referrer.mediaType,
    digest: referrer.digest,
    size: referrer.sizeBytes,
    ...(referrer.artifactType === null ? {} : { artifactType: referrer.artifactType }),
    ...(referrer.annotations === null ? {} : { annotations: referrer.annotations }),
  };
}
