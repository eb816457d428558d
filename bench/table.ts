import { isMet, type Result } from './measure.ts';

/** A Markdown table of the numbers, and under it what was promised. */
export function renderTable({ title, numbers, targets }: Result): string {
  const names = [...new Set(Object.values(numbers).flatMap((each) => Object.keys(each)))];
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    `### ${title}`,
    '',
    row(['', ...names]),
    row(['---', ...names.map(() => '---:')]),
    ...Object.entries(numbers).map(([server, each]) =>
      row([server, ...names.map((name) => (name in each ? shown(each[name] ?? Number.NaN) : ''))]),
    ),
    '',
    ...targets.map((target) => {
      const mark = isMet(target) ? 'met' : 'MISSED';
      return `- ${target.what}: ${shown(target.actual)} (${target.kind} ${shown(target.bound)}): ${mark}`;
    }),
    '',
  ].join('\n');
}

function shown(value: number): string {
  if (Number.isNaN(value)) return 'not measured';
  if (value >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
