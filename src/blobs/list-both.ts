import type { Page } from './blob-store.ts';

type NextPage<T> = (cursor: string | null, limit: number) => Promise<Page<T>>;

const IN_FIRST = '1:';
const IN_SECOND = '2:';

/** Pages of what is in the first listing, then of what is in the second. The cursor says in which the next one begins. */
export async function listBoth<T>(
  wanted: { readonly cursor: string | null; readonly limit: number },
  listings: { readonly first: NextPage<T>; readonly second: NextPage<T> },
): Promise<Page<T>> {
  const { cursor, limit } = wanted;
  if (cursor?.startsWith(IN_SECOND))
    return secondPage(listings.second, cursor.slice(IN_SECOND.length), limit);
  const first = await listings.first(cursor === null ? null : cursor.slice(IN_FIRST.length), limit);
  if (first.cursor !== null) return { ...first, cursor: `${IN_FIRST}${first.cursor}` };
  const left = limit - first.entries.length;
  if (left === 0) return { ...first, cursor: IN_SECOND };
  const second = await secondPage(listings.second, '', left);
  return { ...second, entries: [...first.entries, ...second.entries] };
}

async function secondPage<T>(next: NextPage<T>, cursor: string, limit: number): Promise<Page<T>> {
  const page = await next(cursor === '' ? null : cursor, limit);
  return { ...page, cursor: page.cursor === null ? null : `${IN_SECOND}${page.cursor}` };
}
