/** Values bound in one statement: databases have a limit on parameters, and each length is a statement of its own. */
const valuesPerStatementMax = 500;

export function pagesOf<T>(values: readonly T[]): readonly (readonly T[])[] {
  const pages: (readonly T[])[] = [];
  for (let start = 0; start < values.length; start += valuesPerStatementMax) {
    pages.push(values.slice(start, start + valuesPerStatementMax));
  }
  return pages;
}
