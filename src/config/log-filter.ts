import { fail, type ValueType } from './value-types.ts';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'off'];
const SUBSYSTEMS = ['process', 'http', 'access', 'registry', 'blobs', 'meta', 'jobs'];
/** Module names of the original program that have a place here. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  api: 'http',
  ui: 'http',
  server: 'process',
  auth: 'access',
  storage: 'blobs',
};

interface Directives {
  readonly filter: string;
  /** Targets that are not ours: other programs read RUST_LOG too. */
  readonly foreign: readonly string[];
}

/** `info`, `info,access=debug`: a level for all, then levels of subsystems. */
export function logFilter(): ValueType<string> {
  const read = (value: string) => {
    const { filter, foreign } = readDirectives(value);
    return foreign.length === 0
      ? filter
      : fail(
          `must be a level (${LEVELS.join(', ')}), then subsystem=level of ${SUBSYSTEMS.join(', ')}`,
          foreign[0],
        );
  };
  return filterType(read);
}

/** The syntax of RUST_LOG: `drift=debug,info`, `info,drift::access=debug`; targets of other programs are dropped. */
export function rustLogFilter(): ValueType<string> {
  return filterType((value) => readDirectives(value).filter);
}

/** Targets in a RUST_LOG that are not ours. */
export function foreignTargets(value: string): readonly string[] {
  return readDirectives(value).foreign;
}

function filterType(read: (value: string) => string): ValueType<string> {
  return {
    describe: 'level, then `subsystem=level`',
    isPath: false,
    fromText: read,
    fromToml: (raw) => read(typeof raw === 'string' ? raw : fail('must be a string in quotes', raw)),
    show: String,
  };
}

function readDirectives(value: string): Directives {
  let base: string | null = null;
  let ours: string | null = null;
  const subsystems = new Map<string, string>();
  const foreign: string[] = [];
  for (const directive of value.split(',').map((text) => text.trim())) {
    if (directive === '') continue;
    const equals = directive.lastIndexOf('=');
    const target = equals < 0 ? directive : directive.slice(0, equals).trim();
    if (equals < 0 && readLevel(target) !== null) {
      base = readLevel(target);
      continue;
    }
    const subsystem = readTarget(target);
    // A bare target means all of its lines, as in RUST_LOG.
    const level = equals < 0 ? 'trace' : readLevel(directive.slice(equals + 1));
    if (subsystem === null) foreign.push(directive);
    else if (level === null) fail(`must name levels of ${LEVELS.join(', ')}`, directive);
    else if (subsystem === '') ours = level;
    else subsystems.set(subsystem, level);
  }
  const rest = [...subsystems].map(([subsystem, level]) => `${subsystem}=${level}`);
  return { filter: [ours ?? base ?? 'info', ...rest].join(','), foreign };
}

function readLevel(word: string): string | null {
  const level = word.trim().toLowerCase();
  return level === 'warning' ? 'warn' : LEVELS.includes(level) ? level : null;
}

/** The subsystem that a target names, '' for the whole program, null for another program's. */
function readTarget(target: string): string | null {
  const [first = '', second] = target.split('::');
  const name = first === 'drift' ? second : first;
  if (name === undefined) return '';
  if (SUBSYSTEMS.includes(name)) return name;
  return first === 'drift' ? (OTHER_NAMES[name] ?? null) : null;
}
