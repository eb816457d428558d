import type { MetaStore } from '../meta/meta-store.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Tag } from '../oci/reference.ts';

/** Of a list without `n`: clients read only its first page (oras-go stops at 4 MiB of one), so it holds what it can. */
const tagListBytesMax = 3.5 * 1024 * 1024;
/** Rows at a time: the usual largest page, and the one that says whether there are more. */
const ledgerPageMax = 1001;
/** Quotes and comma around a tag in JSON. */
const tagOverheadBytes = 3;

export interface TagListRequest {
  readonly repository: RepositoryName;
  readonly after: string | null;
  /** Null: as many as fit one response. */
  readonly limit: number | null;
}

export interface TagPage {
  readonly tags: readonly Tag[];
  readonly more: boolean;
}

export async function listTags(
  deps: { readonly meta: Pick<MetaStore, 'read'> },
  request: TagListRequest,
): Promise<TagPage> {
  const repository = await deps.meta.read.repositories.find(request.repository);
  if (repository === null)
    throw new RegistryError('NAME_UNKNOWN', null, { detail: { name: request.repository } });
  const limit = request.limit ?? Number.POSITIVE_INFINITY;
  const tags: Tag[] = [];
  let bytes = 0;
  let { after } = request;
  while (limit > 0) {
    const rows = Math.min(limit - tags.length + 1, ledgerPageMax);
    const page = await deps.meta.read.tags.list({ repository: repository.id, after, limit: rows });
    for (const tag of page) {
      bytes += tag.length + tagOverheadBytes;
      if (tags.length >= limit || bytes > tagListBytesMax) return { tags, more: true };
      tags.push(tag);
    }
    if (page.length < rows) break;
    after = page.at(-1) ?? null;
  }
  return { tags, more: false };
}
