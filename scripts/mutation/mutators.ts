/** One change of one place in a source file. */
export interface Mutant {
  readonly line: number;
  /** The declaration at the left margin that it stands in. */
  readonly within: string;
  /** The whole line, trimmed, before and after: what an explanation refers to. */
  readonly before: string;
  readonly after: string;
  /** The whole text with the change in it. */
  readonly text: string;
}

interface Change {
  readonly at: number;
  readonly length: number;
  readonly replacement: string;
}

/** What is looked for in the code (comments, strings and regular expressions are blanked out) and what takes its place. */
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
  // A condition of a choice, made true and made false.
  [/\s\? /g, () => ' || true ? '],
  [/\s\? /g, () => ' && false ? '],
  [/(?<=[\w)\]] )\+(?= [\w(])/g, () => '-'],
  [/(?<=[\w)\]] )-(?= [\w(])/g, () => '+'],
  [/ \+= /g, () => ' -= '],
  [/\+\+/g, () => '--'],
  [/\btrue\b/g, () => 'false'],
  [/\bfalse\b/g, () => 'true'],
  [/(?<=[(\s])!(?=[\w(])/g, () => ''],
  [/\bthrow (?=\w)/g, () => 'void '],
  [/\b(?:continue|break);/g, () => ';'],
  // An assignment that is not a declaration.
  [/(?<=^ +|\) )[\w.]+ = [^;=][^;]*;$/gm, () => ';'],
  [/\.some\(/g, () => '.every('],
  [/\.every\(/g, () => '.some('],
  [/\bMath\.min\(/g, () => 'Math.max('],
  [/\bMath\.max\(/g, () => 'Math.min('],
  [/(?<![\w.$#])\d[\d_]*n?\b/g, (found) => shifted(found, 1)],
  [/(?<![\w.$#])[1-9][\d_]*n?\b/g, (found) => shifted(found, -1)],
];

const REGULAR_EXPRESSION = /(?<=[=(,:] ?)\/(?![/*])((?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+)\/\w*/;
// What stands in backticks is blanked as a whole, its expressions too: those only word messages in the files we mutate.
const QUIET = new RegExp(
  `${/\/\*[^]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/.source}|${REGULAR_EXPRESSION.source}`,
  'g',
);

export function mutantsOf(source: string): readonly Mutant[] {
  const code = blankTypes(source.replace(QUIET, blank));
  const changes = [
    ...swaps(code),
    ...negatedConditions(source, code),
    ...removedCalls(code),
    ...changedWords(source, code),
    ...changedExpressions(source),
  ];
  const mutants = new Map(changes.map((change) => mutantOf(source, change)).map((each) => [each.text, each]));
  return [...mutants.values()].sort((a, b) => a.line - b.line);
}

function mutantOf(source: string, { at, length, replacement }: Change): Mutant {
  const text = source.slice(0, at) + replacement + source.slice(at + length);
  const line = source.slice(0, at).split('\n').length;
  const lineOf = (whole: string): string => (whole.split('\n')[line - 1] ?? '').trim();
  const declarations = source.slice(0, at).matchAll(/^(?:export )?(?:async )?(?:function|const) (\w+)/gm);
  return {
    line,
    within: [...declarations].at(-1)?.[1] ?? '',
    before: lineOf(source),
    after: lineOf(text),
    text,
  };
}

function swaps(code: string): Change[] {
  return SWAPS.flatMap(([pattern, replace]) =>
    [...code.matchAll(pattern)].map(({ 0: found, index }) => ({
      at: index,
      length: found.length,
      replacement: replace(found),
    })),
  );
}

function negatedConditions(source: string, code: string): Change[] {
  const conditions = [...code.matchAll(/\bif \(/g)].map(({ index }) => {
    const at = index + 4;
    return { at, length: closing(code, index + 3) - at };
  });
  return (
    conditions
      // A lone comparison was turned already, a lone negation taken away.
      .filter(({ at, length }) => !/^(?:[^&|]* [=!<>]=?=? |!)[^&|]*$/.test(code.slice(at, at + length)))
      .map(({ at, length }) => ({ at, length, replacement: `!(${source.slice(at, at + length)})` }))
  );
}

/** A call that stands by itself, taken away. */
function removedCalls(code: string): Change[] {
  const starts = code.matchAll(
    /(?<=^ +|\) |else )(?!if\b|for\b|while\b|switch\b|catch\b|return\b|function\b)(?:await )?\w[\w.]*\(/gm,
  );
  return [...starts].flatMap(({ 0: found, index }) => {
    const end = closing(code, index + found.length - 1) + 1;
    return code[end] === ';' ? [{ at: index, length: end - index, replacement: '' }] : [];
  });
}

/**
 * Words in quotes, made empty, and empty ones made a word. Sentences are left alone: they are for people. So are the words
 * of types, which stand beside a bar, behind `readonly` or in the brackets of a type's name.
 */
function changedWords(source: string, code: string): Change[] {
  const words = source.matchAll(/(?<!\| |readonly \w+\??: |\b[A-Z]\w*\[)'([^' \n]*)'(?! \||>)/g);
  return [...words]
    .filter(({ index }) => isQuoteInCode(source, code, index))
    .map(({ 0: found, 1: word, index }) => ({
      at: index,
      length: found.length,
      replacement: word === '' ? "'x'" : "''",
    }));
}

/** Whether a string begins here, and not within a comment, a template or an import. */
function isQuoteInCode(source: string, code: string, at: number): boolean {
  const quiet = [...source.matchAll(QUIET)].some(({ index }) => index === at);
  const lineStart = source.lastIndexOf('\n', at) + 1;
  return (
    quiet && code.slice(lineStart, at).trim() === source.slice(lineStart, at).replace(QUIET, blank).trim()
  );
}

/** Regular expressions without an anchor or flags, with a quantifier turned, with a bound shifted. */
function changedExpressions(source: string): Change[] {
  const expressions = source.matchAll(new RegExp(REGULAR_EXPRESSION, 'g'));
  return [...expressions].flatMap(({ 0: found, index }) => {
    // Escapes and classes are blanked: a quantifier in them is none.
    const bare = found.replace(/\\.|\[(?:\\.|[^\]\\])*\]/g, (part) => ' '.repeat(part.length));
    const change = (pattern: RegExp, replace: (part: string) => string): Change[] =>
      [...bare.matchAll(pattern)].map(({ 0: part, index: within }) => ({
        at: index + within,
        length: part.length,
        replacement: replace(part),
      }));
    return [
      ...change(/\^|\$/g, () => ''),
      ...change(/\+/g, () => '*'),
      ...change(/\*/g, () => '+'),
      ...change(/(?<!\()\?/g, () => ''),
      ...change(/(?<=[{,])\d+(?=[},])/g, (part) => shifted(part, 1)),
      ...change(/(?<=[{,])[1-9]\d*(?=[},])/g, (part) => shifted(part, -1)),
      ...change(/(?<=\/)\w+$/g, () => ''),
    ];
  });
}

function shifted(text: string, by: number): string {
  return `${Number(text.replace(/[_n]/g, '')) + by}${text.endsWith('n') ? 'n' : ''}`;
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

/** The same length, so that positions stay. */
function blankTypes(code: string): string {
  return code
    .replace(/^(?:export )?interface [^]*?^}/gm, blank)
    .replace(/^(?:export )?type [^]*?;$/gm, blank)
    .replace(/^import [^]*?;$/gm, blank)
    .replace(/\): ?asserts? [^{]*\{|\): '[^{]*\{/g, blank);
}

/** Strings become rows of quotes, so that no operator beside one seems to stand alone. */
function blank(text: string): string {
  return text.replace(/[^\n]/g, text.startsWith("'") ? "'" : ' ');
}
