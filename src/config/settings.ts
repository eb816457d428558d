import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { nearest } from '../std/edit-distance.ts';
import type { Problem } from './config-error.ts';
import { isForeignEnv } from './foreign-env.ts';
import type { Key } from './key.ts';
import { CONFIG_FILE_ENV, KEYS, type KeyId } from './keys.ts';
import { refusedEnv, refusedPath } from './refused.ts';
import { ValueError } from './value-error.ts';
import type { ValueType } from './value-types.ts';

/** One value that was set somewhere. */
interface Setting {
  readonly value: unknown;
  /** `drift.toml:12`, `DRIFT_USERS`, `--bind`, `default`. */
  readonly source: string;
}

export type Settings = Map<KeyId, Setting>;

/** What reading collects: values, and everything that was wrong on the way. */
export interface Collector {
  readonly cwd: string;
  readonly settings: Settings;
  readonly problems: Problem[];
  /** Keys that were set to something unreadable: no contradiction is looked for in them. */
  readonly broken: Set<KeyId>;
}

interface Spelling {
  readonly id: KeyId;
  readonly type: ValueType<unknown>;
  /** The value is the content of the file that is named. */
  readonly fromFile: boolean;
  /** 0 wins over 1. */
  readonly rank: number;
}

const SECRET_FILE_BYTES_MAX = 1_048_576;
const entries = Object.entries(KEYS) as [KeyId, Key<unknown>][];
const paths = new Map(entries.flatMap(([id, key]) => pathSpellings(id, key)));
const envNames = new Map(entries.flatMap(([id, key]) => envSpellings(id, key)));

export function readText(file: string): string {
  const { size } = statSync(file);
  if (size > SECRET_FILE_BYTES_MAX) throw new Error(`it is larger than ${SECRET_FILE_BYTES_MAX} bytes`);
  return readFileSync(file, 'utf8');
}

/** Why a file cannot be read, in words. */
export function readFailure(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return 'it does not exist';
  if (code === 'EACCES') return 'permission denied';
  if (code === 'EISDIR') return 'it is a directory';
  return (error as Error).message;
}

/** Takes every key of a parsed drift.toml; `where` gives the place of a dotted path. */
export function collectToml(
  into: Collector,
  tree: Record<string, unknown>,
  where: (path: string) => string,
): void {
  const seen = new Map<KeyId, string>();
  walk(tree, [], (path, raw, isLeaf) => {
    const spelling = paths.get(path);
    if (spelling !== undefined) {
      const before = seen.get(spelling.id);
      if (before !== undefined)
        report(into, {
          where: where(path),
          message: `${path}: is set already, as ${before}`,
          suggestion: null,
        });
      seen.set(spelling.id, path);
      take(into, { spelling, name: path, where: where(path), raw });
      return 'done';
    }
    const refused = refusedPath(path);
    if (refused !== null && (isLeaf || Object.keys(raw as object).length === 0)) {
      report(into, { where: where(path), message: `${path}: ${refused.reason}`, suggestion: 'remove it' });
    } else if (refused === null && !isTable(path)) {
      report(into, {
        where: where(path),
        message: `unknown ${isLeaf ? 'key' : 'table'} ${path}`,
        suggestion: suggestPath(path),
      });
      return 'done';
    } else if (refused === null && isLeaf) {
      report(into, { where: where(path), message: `${path}: must be a table ([${path}])`, suggestion: null });
    }
    return 'deeper';
  });
}

/** Takes every key that stands in the environment, over what the file said. */
export function collectEnv(into: Collector, env: NodeJS.ProcessEnv): void {
  const taken = new Map<KeyId, { name: string; value: string; rank: number }>();
  const names = Object.keys(env).filter((name) => name.startsWith('DRIFT_') || envNames.has(name));
  const byRank = (name: string) => envNames.get(name)?.rank ?? 0;
  for (const name of names.sort((a, b) => byRank(a) - byRank(b) || (a < b ? -1 : 1))) {
    const value = env[name] ?? '';
    // Compose files pass on what is unset as empty.
    if (value === '' || name === CONFIG_FILE_ENV) continue;
    const spelling = envNames.get(name);
    if (spelling === undefined) {
      reportUnknownEnv(into, name, value);
      continue;
    }
    const before = taken.get(spelling.id);
    if (before !== undefined) {
      if (KEYS[spelling.id].ranked && before.rank < spelling.rank) continue;
      if (before.value !== value)
        report(into, {
          where: name,
          message: `${name} and ${before.name} contradict each other`,
          suggestion: 'set one of them',
        });
      continue;
    }
    taken.set(spelling.id, { name, value, rank: spelling.rank });
    take(into, { spelling, name, where: name, raw: value, isText: true });
  }
}

export function takeFlag(
  into: Collector,
  id: KeyId,
  flag: { readonly name: string; readonly value: string | undefined },
): void {
  if (flag.value === undefined) return;
  const spelling: Spelling = { id, type: KEYS[id].type, fromFile: false, rank: 0 };
  take(into, { spelling, name: flag.name, where: flag.name, raw: flag.value, isText: true });
}

interface Found {
  readonly spelling: Spelling;
  readonly name: string;
  readonly where: string;
  readonly raw: unknown;
  readonly isText?: boolean;
}

function take(into: Collector, found: Found): void {
  const { spelling, name, where, raw } = found;
  try {
    const value = spelling.fromFile
      ? spelling.type.fromText(readContent(into.cwd, raw))
      : found.isText === true
        ? spelling.type.fromText(raw as string)
        : spelling.type.fromToml(raw);
    into.settings.set(spelling.id, { value, source: where });
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    into.broken.add(spelling.id);
    const { message } = error;
    report(into, {
      where,
      message: where === name ? message : `${name}: ${message}`,
      suggestion: error.suggestion,
    });
  }
}

function readContent(cwd: string, raw: unknown): string {
  if (typeof raw !== 'string' || raw === '') throw new ValueError('must name a file');
  try {
    return readText(resolve(cwd, raw))
      .replace(/(\r?\n)+$/, '')
      .replaceAll('\r\n', '\n');
  } catch (error) {
    throw new ValueError(`cannot read the file ${raw}: ${readFailure(error)}`);
  }
}

function report(into: Collector, problem: Problem): void {
  into.problems.push(problem);
}

function reportUnknownEnv(into: Collector, name: string, value: string): void {
  if (isForeignEnv(name, value)) return;
  const refused = refusedEnv(name);
  if (refused !== null) {
    report(into, { where: name, message: refused.reason, suggestion: 'remove it' });
    return;
  }
  const names = [...envNames.keys(), CONFIG_FILE_ENV];
  const meant = nearest(name, names) ?? names.find((known) => known.startsWith(`${name}_`));
  report(into, {
    where: name,
    message: 'unknown environment name',
    suggestion: meant === undefined ? null : `did you mean ${meant}?`,
  });
}

/** The key that was meant: spelled nearly so, or of the same name in another table. */
function suggestPath(path: string): string | null {
  const last = path.slice(path.lastIndexOf('.') + 1);
  const elsewhere = [...paths].find(([known]) => known.endsWith(`.${last}`))?.[0];
  const meant = nearest(path, paths.keys()) ?? elsewhere ?? nearest(path, tables());
  if (meant) return `did you mean ${meant}?`;
  const tail = nearest(
    last,
    [...paths.keys()].map((known) => known.slice(known.lastIndexOf('.') + 1)),
  );
  const whole = [...paths.keys()].find((known) => tail !== null && known.endsWith(`.${tail}`));
  return whole === undefined ? null : `did you mean ${whole}?`;
}

function tables(): Set<string> {
  return new Set([...paths.keys()].flatMap((path) => prefixes(path)));
}

function prefixes(path: string): string[] {
  const parts = path.split('.');
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('.'));
}

function isTable(path: string): boolean {
  return [...paths.keys()].some((known) => known.startsWith(`${path}.`));
}

type Visit = (path: string, raw: unknown, isLeaf: boolean) => 'done' | 'deeper';

function walk(tree: Record<string, unknown>, at: readonly string[], visit: Visit): void {
  for (const [name, raw] of Object.entries(tree)) {
    const path = [...at, name];
    const isLeaf = typeof raw !== 'object' || raw === null || Array.isArray(raw) || raw instanceof Date;
    if (visit(path.join('.'), raw, isLeaf) === 'deeper' && !isLeaf)
      walk(raw as Record<string, unknown>, path, visit);
  }
}

function pathSpellings(id: KeyId, key: Key<unknown>): [string, Spelling][] {
  const names = [key.path, ...key.aliases];
  const plain = names.map((name): [string, Spelling] => [
    name,
    { id, type: key.type, fromFile: false, rank: 0 },
  ]);
  const files = key.secret
    ? names.map((name): [string, Spelling] => [
        `${name}_file`,
        { id, type: key.type, fromFile: true, rank: 0 },
      ])
    : [];
  const converted = key.converted.flatMap(({ path, type }): [string, Spelling][] =>
    path === null ? [] : [[path, { id, type, fromFile: false, rank: 0 }]],
  );
  return [...plain, ...files, ...converted];
}

function envSpellings(id: KeyId, key: Key<unknown>): [string, Spelling][] {
  const names = [
    ...key.env.map((name) => ({ name, type: key.type })),
    ...key.converted.flatMap(({ env, type }) => (env === null ? [] : [{ name: env, type }])),
  ];
  return names.flatMap(({ name, type }, rank): [string, Spelling][] => {
    const plain: [string, Spelling] = [name, { id, type, fromFile: false, rank }];
    if (type.isPath || !name.startsWith('DRIFT_')) return [plain];
    return [plain, [`${name}_FILE`, { id, type, fromFile: true, rank }]];
  });
}
