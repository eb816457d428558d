import { parseDigest } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/error-codes.ts';
import { listReferrers } from '../../registry/referrers.ts';
import type { Handler } from './desk.ts';
import { nextLink, parsePageQuery } from './page.ts';

const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';
/** Characters of an artifact type: RFC 6838 allows 127 on either side of the slash. */
const artifactTypeLengthMax = 255;

/** distribution-spec, end-12a and end-12b. */
export const referrers: Handler<'referrers'> = async (desk, call, route) => {
  const { repository, digest } = route;
  const query = parsePageQuery(call.query, desk.config.limits.pageEntriesMax);
  const after = query.after === null ? null : parseDigest(query.after);
  if (query.after !== null && after === null) throw new RegistryError('DIGEST_INVALID');
  // A media type has no spaces: one is a `+` that the client did not escape.
  const artifactType = call.query.get('artifactType')?.replaceAll(' ', '+') ?? null;
  if (artifactType !== null && artifactType.length > artifactTypeLengthMax) {
    throw new RegistryError('REQUEST_INVALID', 'artifactType is too long');
  }
  const filter = artifactType === '' ? null : artifactType;
  const page = await listReferrers(desk.registry, {
    repository,
    subject: digest,
    artifactType: filter,
    after,
    limit: query.limit,
  });
  const headers: Record<string, string> = { 'Content-Type': INDEX_TYPE };
  if (filter !== null) headers['OCI-Filters-Applied'] = 'artifactType';
  const { last } = page;
  if (page.more && last !== null) {
    const n = query.limit === null ? null : String(query.limit);
    headers['Link'] = nextLink(`/v2/${repository}/referrers/${digest}`, { artifactType: filter, n, last });
  }
  const index = `{"schemaVersion":2,"mediaType":"${INDEX_TYPE}","manifests":[${page.descriptors}]}`;
  return { status: 200, headers, body: { kind: 'bytes', bytes: Buffer.from(index) } };
};
