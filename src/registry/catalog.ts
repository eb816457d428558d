import type { MetaStore } from '../meta/meta-store.ts';
import type { RepositoryName } from '../oci/name.ts';

/** Rows at a time: the usual largest page, and the one that says whether there are more. */
const ledgerPageMax = 1001;

export interface CatalogRequest {
  readonly after: string | null;
  readonly limit: number;
  readonly mayPull: (repository: RepositoryName) => boolean;
  readonly signal: AbortSignal;
}

export interface CatalogPage {
  readonly repositories: readonly RepositoryName[];
  readonly more: boolean;
}

/**
 * The repositories that the caller may pull, and no trace of the others: not in the page size, not in where the next page
 * begins. Names that are filtered out cost an index read each and nothing else.
 */
export async function listRepositories(
  deps: { readonly meta: Pick<MetaStore, 'read'> },
  request: CatalogRequest,
): Promise<CatalogPage> {
  const repositories: RepositoryName[] = [];
  let { after } = request;
  let rows = Math.min(request.limit + 1, ledgerPageMax);
  while (request.limit > 0) {
    request.signal.throwIfAborted();
    const page = await deps.meta.read.repositories.list({ after, limit: rows });
    for (const name of page) {
      if (!request.mayPull(name)) continue;
      if (repositories.length >= request.limit) return { repositories, more: true };
      repositories.push(name);
    }
    if (page.length < rows) break;
    after = page.at(-1) ?? null;
    // Who may pull few of many would otherwise have them read a few at a time.
    rows = ledgerPageMax;
  }
  return { repositories, more: false };
}
