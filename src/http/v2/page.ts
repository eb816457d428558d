import { RegistryError } from '../../oci/error-codes.ts';

/** Characters of `last`: the longest name or digest with room to spare. */
const lastLengthMax = 1024;

export interface PageQuery {
  /** Null when the client did not say. */
  readonly limit: number | null;
  readonly after: string | null;
}

/** `n` and `last` of tag lists, the catalog and referrers. A larger `n` than we serve is cut down, not refused. */
export function parsePageQuery(query: URLSearchParams, entriesMax: number): PageQuery {
  const n = query.get('n');
  const last = query.get('last');
  if (last !== null && last.length > lastLengthMax)
    throw new RegistryError('PAGE_INVALID', 'last is too long');
  const after = last === null || last === '' ? null : last;
  if (n === null) return { limit: null, after };
  if (!/^[0-9]{1,19}$/.test(n))
    throw new RegistryError('PAGE_INVALID', null, { detail: { n: n.slice(0, 64) } });
  return { limit: Math.min(Number(n), entriesMax), after };
}

/** `Link` of RFC 8288, relative: clients refuse to follow one to another host. */
export function nextLink(path: string, query: Readonly<Record<string, string | null>>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null) parameters.set(name, value);
  }
  return `<${path}?${parameters.toString()}>; rel="next"`;
}
