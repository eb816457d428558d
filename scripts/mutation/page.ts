import { EXPLAINED } from './explained.ts';

export const MUTATION_PAGE = 'docs/mutation-testing.md';

/** What a run on one file came to. */
export interface MutationRow {
  readonly file: string;
  readonly mutants: number;
  readonly killed: number;
  /** Of those killed: ended by the time limit. */
  readonly hung: number;
  readonly survivors: number;
  readonly seconds: number;
  readonly day: string;
}

const TABLE_HEAD = `| file | mutants | killed | of these by the time limit | survive | seconds | run on |
|---|---|---|---|---|---|---|
`;
const SURVIVORS_HEAD = '## Survivors\n';

/** The page with these rows in place of those of the same files. */
export function withRows(page: string, rows: readonly MutationRow[]): string {
  const [start, table, end] = parts(page);
  const known = new Map(table.map((line) => [/`([^`]*)`/.exec(line)?.[1] ?? '', line]));
  for (const row of rows) {
    known.set(
      row.file,
      `| \`${row.file}\` | ${row.mutants} | ${row.killed} | ${row.hung} | ${row.survivors} | ${row.seconds} | ${row.day} |`,
    );
  }
  const lines = [...known].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line);
  return `${start}${TABLE_HEAD}${lines.join('\n')}\n${end}`;
}

/** The page with the survivors as `explained.ts` has them; the figures of the last run stay. */
export function withSurvivors(page: string): string {
  const at = page.indexOf(SURVIVORS_HEAD);
  if (at < 0) throw new Error(`${MUTATION_PAGE} has no ${SURVIVORS_HEAD.trim()}`);
  return `${page.slice(0, at)}${SURVIVORS_HEAD}${EXPLAINED.map(renderExplained).join('')}`;
}

function renderExplained({ file, within, before, after, why }: (typeof EXPLAINED)[number]): string {
  const diff = [`- ${before}`, ...after.map((line) => `+ ${line}`)].join('\n');
  return `\n### \`${file}\`, \`${within}\`\n\n\`\`\`diff\n${diff}\n\`\`\`\n\n${why}\n`;
}

function parts(page: string): readonly [string, readonly string[], string] {
  const table = page.indexOf(TABLE_HEAD);
  if (table < 0) throw new Error(`${MUTATION_PAGE} has no table of files`);
  const first = table + TABLE_HEAD.length;
  const length = /^(?:\|.*\n)*/.exec(page.slice(first))?.[0].length ?? 0;
  const rows = page
    .slice(first, first + length)
    .split('\n')
    .filter((line) => line !== '');
  return [page.slice(0, table), rows, page.slice(first + length)];
}
