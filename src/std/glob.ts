/**
 * Globs over repository names and tags: `*` stands for any characters within a path component, `**` for any characters at
 * all, `?` for one character within a component; everything else for itself. A glob matches the whole text or not at all.
 */

/** Characters of one glob. */
export const GLOB_LENGTH_MAX = 255;

/** Signs that mean something in other kinds of pattern and can stand in no name: better refused than never matching. */
const FOREIGN_SIGN = /[\s\p{Cc}[\]{}()!\\|^$+]/u;

/** What is wrong with the pattern, as a sentence; null when nothing is. */
export function globIsValid(pattern: string): string | null {
  if (pattern === '') return 'a pattern may not be empty';
  if (pattern.length > GLOB_LENGTH_MAX) return `a pattern may have at most ${GLOB_LENGTH_MAX} characters`;
  if (pattern.includes('***')) return 'a pattern may not have more than two stars in a row';
  const sign = FOREIGN_SIGN.exec(pattern)?.[0];
  return sign === undefined
    ? null
    : `a pattern may not contain ${JSON.stringify(sign)}; only *, ** and ? are special`;
}

/**
 * Throws `RangeError` for a pattern that `globIsValid` refuses. Matching follows all ways through the pattern at once, so
 * its time is at most pattern length times text length, whatever both are.
 */
export function compileGlob(pattern: string): (text: string) => boolean {
  const problem = globIsValid(pattern);
  if (problem !== null) throw new RangeError(problem);
  if (pattern === '**') return () => true;
  if (!/[*?]/.test(pattern)) return (text) => text === pattern;
  const tokens = pattern.match(/\*\*|./gsu) ?? [];
  return (text) => matches(tokens, text);
}

/** `reached[i]`: the text so far can be matched by the first `i` tokens. */
function matches(tokens: readonly string[], text: string): boolean {
  let reached = new Uint8Array(tokens.length + 1);
  let next = new Uint8Array(tokens.length + 1);
  reached[0] = 1;
  skipStars(tokens, reached);
  for (const character of text) {
    next.fill(0);
    for (const [index, token] of tokens.entries()) {
      if (reached[index] === 0) continue;
      if (token === '**' || (token === '*' && character !== '/')) next[index] = 1;
      else if (token === character || (token === '?' && character !== '/')) next[index + 1] = 1;
    }
    skipStars(tokens, next);
    [reached, next] = [next, reached];
  }
  return reached[tokens.length] === 1;
}

/** A star may stand for nothing. */
function skipStars(tokens: readonly string[], reached: Uint8Array): void {
  for (const [index, token] of tokens.entries()) {
    if (reached[index] === 1 && (token === '*' || token === '**')) reached[index + 1] = 1;
  }
}
