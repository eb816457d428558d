/**
 * Lines of the keys in a TOML file that parsed: dotted path to line number, tables and entries of inline tables included.
 * The parser gives values only; this scanner needs no more than where each key begins.
 */
export function locateKeys(toml: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  let table: string[] = [];
  let open = '';
  toml.split('\n').forEach((text, index) => {
    let rest = text;
    if (open === '') {
      const header = /^\s*\[\[?([^\]]+)\]\]?/.exec(text);
      const entry =
        /^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=/.exec(
          text,
        );
      if (header) {
        table = splitPath(header[1] ?? '');
        note(lines, table, index + 1);
        return;
      }
      if (!entry) return;
      const path = [...table, ...splitPath(entry[1] ?? '')];
      note(lines, path, index + 1);
      rest = text.slice(entry[0].length);
      if (rest.trim().startsWith('{')) noteInline(lines, path, rest, index + 1);
    }
    open = scan(rest, open);
  });
  return lines;
}

function note(lines: Map<string, number>, path: readonly string[], line: number): void {
  const key = path.join('.');
  if (!lines.has(key)) lines.set(key, line);
}

function noteInline(lines: Map<string, number>, path: readonly string[], text: string, line: number): void {
  for (const match of text.matchAll(/[{,]\s*("[^"]*"|'[^']*'|[A-Za-z0-9_.-]+)\s*=/g)) {
    note(lines, [...path, ...splitPath(match[1] ?? '')], line);
  }
}

function splitPath(path: string): string[] {
  const parts = path.match(/"[^"]*"|'[^']*'|[^.\s]+/g) ?? [];
  return parts.map((part) => part.replace(/^(["'])(.*)\1$/, '$2'));
}

/** What is still open at the end of a line: brackets (counted), or a multi-line string's quotes after them. */
function scan(line: string, open: string): string {
  let state = open;
  for (let at = 0; at < line.length; ) {
    const quotes = /('''|""")$/.exec(state)?.[0];
    if (quotes !== undefined) {
      const end = line.indexOf(quotes, at);
      if (end < 0) return state;
      state = state.slice(0, -3);
      at = end + 3;
      continue;
    }
    const token = /^(?:'''|"""|"(?:\\.|[^"\\])*"|'[^']*'|#.*|.)/.exec(line.slice(at))?.[0] ?? ' ';
    if (token === "'''" || token === '"""') state += token;
    else if (token === '[' || token === '{') state += token;
    else if (token === ']' || token === '}') state = state.slice(0, -1);
    at += token.length;
  }
  return state;
}
