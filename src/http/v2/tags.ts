import { listTags } from '../../registry/tags.ts';
import type { Handler } from './desk.ts';
import { nextLink, parsePageQuery } from './page.ts';

/** distribution-spec, end-8a and end-8b. */
export const tagList: Handler<'tags'> = async (desk, call, route) => {
  const { repository } = route;
  const { limit, after } = parsePageQuery(call.query, desk.config.limits.pageEntriesMax);
  const page = await listTags(desk.registry, { repository, limit, after });
  const last = page.tags.at(-1);
  const headers: Record<string, string> = {};
  if (page.more && last !== undefined) {
    const n = limit === null ? null : String(limit);
    headers['Link'] = nextLink(`/v2/${repository}/tags/list`, { n, last });
  }
  return { status: 200, headers, body: { kind: 'json', value: { name: repository, tags: page.tags } } };
};
