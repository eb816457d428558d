const LEVEL_NAMES: Readonly<Record<number, string>> = {
  10: 'TRACE',
  20: 'DEBUG',
  30: 'INFO ',
  40: 'WARN ',
  50: 'ERROR',
  60: 'FATAL',
};
const COLOURS: Readonly<Record<number, string>> = { 40: '\u001b[33m', 50: '\u001b[31m', 60: '\u001b[31m' };
const DIM = '\u001b[2m';
const RESET = '\u001b[0m';
const LEFT_OUT = new Set(['level', 'time', 'pid', 'role', 'subsystem', 'msg', 'err']);

/** One JSON line of the log as a person reads it on a terminal. What clients sent cannot steer the terminal. */
export function prettyLine(line: string, colours: boolean): string {
  const fields = JSON.parse(line) as Record<string, unknown>;
  const level = Number(fields['level']);
  const name = LEVEL_NAMES[level] ?? String(level);
  const time = new Date(Number(fields['time'])).toISOString().slice(11, 23);
  const rest = Object.entries(fields)
    .filter(([key]) => !LEFT_OUT.has(key))
    .map(([key, value]) => `${key}=${shown(value)}`)
    .join(' ');
  const colour = colours ? (COLOURS[level] ?? '') : '';
  const message = typeof fields['msg'] === 'string' ? printable(fields['msg']) : '';
  const head = `${time} ${colour}${name}${colour === '' ? '' : RESET} ${text(fields['subsystem'])} ${message}`;
  const tail = rest === '' ? '' : colours ? `  ${DIM}${rest}${RESET}` : `  ${rest}`;
  return `${head}${tail}\n${stackOf(fields['err'])}`;
}

function text(value: unknown): string {
  return typeof value === 'string' ? printable(value) : '';
}

function shown(value: unknown): string {
  return printable(typeof value === 'string' ? value : JSON.stringify(value));
}

function stackOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  const { stack, message } = error as { stack?: unknown; message?: unknown };
  const lines = typeof stack === 'string' ? stack : String(message);
  return `${lines
    .split('\n')
    .map((line) => `    ${printable(line)}`)
    .join('\n')}\n`;
}

function printable(value: string): string {
  return value.replace(/\p{Cc}/gu, (character) =>
    character === '\n' ? '\\n' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
