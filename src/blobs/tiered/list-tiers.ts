import type { Page } from '../blob-store.ts';

type NextPage<T> = (cursor: string | null, limit: number) => Promise<Page<T>>;

const IN_COLD = 'cold:';
const HERE = 'here:';

/** First what is here, then what is in the cold tier. The cursor says in which of them the next page begins. */
export async function listTiers<T>(
  wanted: { readonly cursor: string | null; readonly limit: number },
  tiers: { readonly here: NextPage<T>; readonly cold: NextPage<T> },
): Promise<Page<T>> {
  const { cursor, limit } = wanted;
  if (cursor?.startsWith(IN_COLD)) return await coldPage(tiers.cold, cursor.slice(IN_COLD.length), limit);
  const here = await tiers.here(cursor === null ? null : cursor.slice(HERE.length), limit);
  if (here.cursor !== null) return { ...here, cursor: `${HERE}${here.cursor}` };
  const left = limit - here.entries.length;
  if (left === 0) return { ...here, cursor: IN_COLD };
  const cold = await coldPage(tiers.cold, '', left);
  return { ...cold, entries: [...here.entries, ...cold.entries] };
}

async function coldPage<T>(next: NextPage<T>, cursor: string, limit: number): Promise<Page<T>> {
  const page = await next(cursor === '' ? null : cursor, limit);
  return { ...page, cursor: page.cursor === null ? null : `${IN_COLD}${page.cursor}` };
}
