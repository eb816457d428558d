/** One change of one place in a source file. */
export interface Mutant {
  readonly line: number;
  /** The whole line, trimmed, before and after: what an explanation refers to. */
  readonly before: string;
  readonly after: string;
  /** The whole text with the change in it. */
  readonly text: string;
}

/** What is looked for in the code (comments and strings are blanked out) and what takes its place. */
const SWAPS: readonly (readonly [RegExp, (found: string) => string])[] = [
  [/ === /g, () => ' !== '],
  [/ !== /g, () => ' === '],
  [/ < /g, () => ' <= '],
  [/ <= /g, () => ' < '],
  [/ > /g, () => ' >= '],
  [/ >= /g, () => ' > '],
  [/ < | <= /g, () => ' > '],
  [/ > | >= /g, () => ' < '],
  [/ && /g, () => ' || '],
  [/ \|\| /g, () => ' && '],
  [/ \?\? /g, () => ' && '],
  [/(?<=[\w)\]] )\+(?= [\w(])/g, () => '-'],
  [/(?<=[\w)\]] )-(?= [\w(])/g, () => '+'],
  [/ \+= /g, () => ' -= '],
  [/\+\+/g, () => '--'],
  [/\btrue\b/g, () => 'false'],
  [/\bfalse\b/g, () => 'true'],
  [/(?<=[(\s])!(?=[\w(])/g, () => ''],
  [/\bthrow (?=\w)/g, () => 'void '],
  [/\.some\(/g, () => '.every('],
  [/\.every\(/g, () => '.some('],
  [/\bMath\.min\(/g, () => 'Math.max('],
  [/\bMath\.max\(/g, () => 'Math.min('],
  [/(?<![\w.$#])\d[\d_]*n?\b/g, (found) => plusOne(found)],
  [/(?<![\w.$#])[1-9][\d_]*n?\b/g, (found) => minusOne(found)],
];

export function mutantsOf(source: string): readonly Mutant[] {
  const code = blankTypes(blankComments(source));
  const mutants: Mutant[] = [];
  const add = (at: number, length: number, replacement: string): void => {
    const text = source.slice(0, at) + replacement + source.slice(at + length);
    const line = source.slice(0, at).split('\n').length;
    const lineOf = (whole: string): string => (whole.split('\n')[line - 1] ?? '').trim();
    mutants.push({ line, before: lineOf(source), after: lineOf(text), text });
  };
  for (const [pattern, replace] of SWAPS) {
    for (const { 0: found, index } of code.matchAll(pattern)) add(index, found.length, replace(found));
  }
  for (const { index } of code.matchAll(/\bif \(/g)) {
    const end = closing(code, index + 3);
    // A lone comparison was turned already.
    if (/^[^&|]* [=!<>]=?=? [^&|]*$/.test(code.slice(index + 4, end))) continue;
    add(index + 4, end - index - 4, `!(${source.slice(index + 4, end)})`);
  }
  return mutants.sort((a, b) => a.line - b.line);
}

function plusOne(text: string): string {
  const big = text.endsWith('n');
  return `${Number(text.replace(/[_n]/g, '')) + 1}${big ? 'n' : ''}`;
}

function minusOne(text: string): string {
  const big = text.endsWith('n');
  return `${Number(text.replace(/[_n]/g, '')) - 1}${big ? 'n' : ''}`;
}

/** Index of the parenthesis that closes the one at `open`. */
function closing(code: string, open: number): number {
  let depth = 0;
  for (let at = open; at < code.length; at++) {
    if (code[at] === '(') depth += 1;
    if (code[at] === ')') depth -= 1;
    if (depth === 0) return at;
  }
  throw new Error('a parenthesis is not closed');
}

// What stands in backticks is blanked as a whole, its expressions too: those only word messages in the files we mutate.
const QUIET =
  /\/\*[^]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|(?<=[=(,:] ?)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/\w*/g;

/** The same length, so that positions stay. */
function blankComments(source: string): string {
  return source.replace(QUIET, blank);
}

function blankTypes(code: string): string {
  return code
    .replace(/^(?:export )?interface [^]*?^}/gm, blank)
    .replace(/^(?:export )?type [^]*?;$/gm, blank)
    .replace(/^import [^]*?;$/gm, blank)
    .replace(/\): ?asserts? [^{]*\{|\): '[^{]*\{/g, blank);
}

function blank(text: string): string {
  return text.replace(/[^\n]/g, ' ');
}
