import { listRepositories } from '../../registry/catalog.ts';
import type { Handler } from './desk.ts';
import { nextLink, parsePageQuery } from './page.ts';

/** As distribution has it: clients rely on a page of this size when they do not ask for one. */
const catalogEntriesDefault = 100;

export const catalog: Handler<'catalog'> = async (desk, call) => {
  const query = parsePageQuery(call.query, desk.config.limits.pageEntriesMax);
  const limit = query.limit ?? catalogEntriesDefault;
  const page = await listRepositories(desk.registry, {
    limit,
    after: query.after,
    // A token for the catalog names no repositories: what its owner may pull is what counts.
    mayPull: (repository) => desk.guard.may(call.caller, 'pull', repository) !== 'no',
    signal: call.signal,
  });
  const last = page.repositories.at(-1);
  const headers: Record<string, string> = {};
  if (page.more && last !== undefined) headers['Link'] = nextLink('/v2/_catalog', { n: String(limit), last });
  return { status: 200, headers, body: { kind: 'json', value: { repositories: page.repositories } } };
};
